"""A network namespace that has a loopback interface and nothing else: from there nobody can be reached by mistake.

`Keeper` holds one in a child process and makes sockets in it, which work in the process that asked for them.
`enter` moves the calling process into it. Linux only; not every container allows it, then `Keeper.start` says so.
"""

import array
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40
ANSWER_TIMEOUT_S = 10.0
BACKLOG = 1024


class NotAllowed(Exception):
    """The kernel does not let this process have a network namespace."""


class Keeper:
    """Holds a namespace as long as it runs."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._asking: socket.socket | None = None

    def start(self) -> None:
        """Raises NotAllowed."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", __file__, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        ours.settimeout(ANSWER_TIMEOUT_S)
        self._asking = ours
        if ours.recv(1) != b"+":
            assert self._process.stderr is not None
            why = self._process.stderr.read().decode().strip().rpartition("\n")[2]
            self.stop()
            raise NotAllowed(why)

    @property
    def pid(self) -> int:
        """By which `enter` finds the namespace."""
        assert self._process is not None
        return self._process.pid

    def listen(self, port: int) -> socket.socket:
        """A socket that listens on 127.0.0.1 inside. Raises OSError when the port is taken there."""
        return self._ask(port)

    def new_socket(self) -> socket.socket:
        """A socket that connects to what listens inside."""
        return self._ask(0)

    def _ask(self, port: int) -> socket.socket:
        assert self._asking is not None
        self._asking.sendall(struct.pack("!H", port))
        answer, descriptors, _, _ = socket.recv_fds(self._asking, 256, 1)
        if not descriptors:
            raise OSError(answer.decode())
        return socket.socket(fileno=descriptors[0])

    def stop(self) -> None:
        """The namespace ends with the last process in it."""
        if self._asking is not None:
            self._asking.close()
            self._asking = None
        if self._process is not None:
            self._process.wait(ANSWER_TIMEOUT_S)
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._process = None


def enter(pid: int) -> None:
    """Move this process, which must have one thread only, into the namespace that `pid` is in. Raises OSError."""
    for kind in ("user", "net"):
        theirs = Path(f"/proc/{pid}/ns/{kind}")
        if theirs.stat().st_ino == Path(f"/proc/self/ns/{kind}").stat().st_ino:
            continue
        descriptor = os.open(theirs, os.O_RDONLY)
        try:
            _checked("setns", descriptor, 0)
        finally:
            os.close(descriptor)


def _keep(asked: socket.socket) -> None:
    """The child's part: make the namespace, then make sockets until the other side closes."""
    try:
        _checked("unshare", CLONE_NEWNET)
    except PermissionError:
        _become_root_of_nobody()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", IFF_UP | IFF_RUNNING)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)
    asked.sendall(b"+")
    while wanted := asked.recv(2):
        with socket.socket() as made:
            try:
                if (port := struct.unpack("!H", wanted)[0]) != 0:
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    made.bind(("127.0.0.1", port))
                    made.listen(BACKLOG)
            except OSError as error:
                asked.sendall(str(error).encode())
                continue
            rights = array.array("i", [made.fileno()])
            asked.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def _become_root_of_nobody() -> None:
    """Without privileges a network namespace needs a user namespace around it. Users and groups stay who they are."""
    user, group = os.getuid(), os.getgid()
    _checked("unshare", CLONE_NEWUSER | CLONE_NEWNET)
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _checked(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    _keep(socket.socket(fileno=int(sys.argv[1])))
