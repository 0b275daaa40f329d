"""The functions of the neonize library that the engine uses, called directly and without its Python client.

The Python client ties connections to the event loop's default threads, reuses identifiers and stops clients from
finalizers; one such surprise ends every session of the process. Here each function is one blocking call into Go, and
the callbacks are made once per process and never freed, because Go may call them late.

Importing neonize downloads its binary when that is missing or of another version, sets up logging and prints. `load`
refuses to import it then, and undoes the rest.
"""

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import io
import logging
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

log = logging.getLogger(__name__)

SUPPORTED_VERSION = "0.5.2"
LOG_LEVEL = b"WARN"

DEVICE, PAIR_STATUS, CONNECTED, KEEPALIVE_TIMEOUT, KEEPALIVE_RESTORED = 0, 2, 3, 4, 5
LOGGED_OUT, STREAM_REPLACED, TEMPORARY_BAN, CONNECT_FAILURE, CLIENT_OUTDATED = 6, 7, 8, 9, 10
DISCONNECTED, MESSAGE, RECEIPT, OFFLINE_SYNC_COMPLETED = 12, 17, 18, 27
CHAT_PRESENCE, PRESENCE, JOINED_GROUP, GROUP_INFO, PICTURE = 19, 20, 21, 22, 23
CALL_OFFER, CALL_ACCEPT, CALL_OFFER_NOTICE, CALL_TERMINATE = 36, 37, 40, 42
SUBSCRIBED = bytes(
    (
        PAIR_STATUS,
        CONNECTED,
        KEEPALIVE_TIMEOUT,
        KEEPALIVE_RESTORED,
        LOGGED_OUT,
        STREAM_REPLACED,
        TEMPORARY_BAN,
        CONNECT_FAILURE,
        CLIENT_OUTDATED,
        DISCONNECTED,
        MESSAGE,
        RECEIPT,
        OFFLINE_SYNC_COMPLETED,
        CHAT_PRESENCE,
        PRESENCE,
        JOINED_GROUP,
        GROUP_INFO,
        PICTURE,
        CALL_OFFER,
        CALL_ACCEPT,
        CALL_OFFER_NOTICE,
        CALL_TERMINATE,
    )
)
"""Numbers of event types, as neonize 0.5.2 has them in neonize/events.py. DEVICE comes unasked, first of all."""


class LibraryUnavailable(Exception):
    """neonize cannot be used in this process; the text says what to do."""


class Listener(Protocol):
    """Who hears of one client. Called in Go's threads, one call at a time for one client; must not raise.

    A call of `on_event` that blocks holds back the client's further events and, behind 100 of them, its connection.
    """

    def on_event(self, kind: int, data: bytes) -> None: ...

    def on_qr(self, text: str) -> None: ...

    def on_pairing_status(self, status: str) -> None: ...


class Opening(Struct, frozen=True, kw_only=True):
    """How to open a client: `database` in the library's form, `jid` and `device_props` as serialized protobufs.

    Without `jid` a new device is paired. Without `proxy` the library dials WhatsApp itself.
    """

    database: str
    jid: bytes | None
    device_props: bytes
    proxy: str | None


class Library(Protocol):
    """Blocking calls; `client` is the unique name of a client. Answers are serialized protobufs or error texts."""

    def run_client(self, client: bytes, opening: Opening, listener: Listener) -> str:
        """Connect, and return when the client was stopped ("") or could not connect (why)."""
        ...

    def disconnect(self, client: bytes) -> None:
        """Close the connection; waits for a dial that is under way."""
        ...

    def stop_client(self, client: bytes) -> None:
        """Take the client out of the library; `run_client` returns then."""
        ...

    def send_message(self, client: bytes, to: bytes, message: bytes) -> bytes: ...

    def upload(self, client: bytes, data: bytes, media_type: int) -> bytes: ...

    def download(self, client: bytes, message: bytes) -> bytes: ...

    def ask(self, client: bytes, function: str, arguments: tuple[bytes | int, ...]) -> bytes:
        """Call a function of the library by its name. Bytes that are no text are followed by their length."""
        ...

    def pair_phone(self, client: bytes, params: bytes) -> bytes: ...

    def logout(self, client: bytes) -> str: ...


def load() -> "GoLibrary":
    """The library, imported at the first call. Raises LibraryUnavailable; never downloads anything."""
    if GoLibrary.loaded is None:
        _require_binary()
        GoLibrary.loaded = GoLibrary(_import_quietly())
    return GoLibrary.loaded


def _require_binary() -> None:
    version = importlib.metadata.version("neonize")
    if version != SUPPORTED_VERSION:
        raise LibraryUnavailable(f"neonize {version} is installed, and {SUPPORTED_VERSION} is what this engine knows")
    spec = importlib.util.find_spec("neonize")
    if spec is None or spec.origin is None:
        raise LibraryUnavailable("neonize is not installed")
    binary = Path(spec.origin).parent / _binary_name()
    if not binary.exists():
        raise LibraryUnavailable(f"the neonize wheel for this platform lacks {binary.name}; install the wheel again")
    try:
        go = ctypes.CDLL(str(binary))
    except OSError as error:
        raise LibraryUnavailable(f"{binary.name} cannot be loaded: {error}") from error
    go.GetVersion.restype = ctypes.c_char_p
    found = go.GetVersion().decode()
    if found != SUPPORTED_VERSION:
        raise LibraryUnavailable(f"{binary.name} is version {found} instead of {SUPPORTED_VERSION}; reinstall neonize")


def _binary_name() -> str:
    """The file that neonize looks for: see neonize/utils/platform.py."""
    machine = {"aarch64": "arm64", "x86_64": "amd64"}.get(platform.machine().lower(), platform.machine().lower())
    suffix = {"linux": "so", "darwin": "dylib", "windows": "dll"}.get(platform.system().lower(), "so")
    return f"neonize-{platform.system().lower()}-{machine}.{suffix}"


def _import_quietly() -> Any:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            import neonize._binder as binder
    except ImportError as error:
        raise LibraryUnavailable(f"neonize cannot be imported (is libmagic installed?): {error}") from error
    finally:
        for handler in [h for h in root.handlers if h not in handlers]:
            root.removeHandler(handler)
        root.setLevel(level)
    return binder


class GoLibrary:
    """neonize 0.5.2."""

    loaded: "GoLibrary | None" = None

    def __init__(self, binder: Any) -> None:
        self._go = binder.gocode
        self._proxy_settings = binder.ProxySettings
        self._taken = binder.consume_bytes_struct
        self._listeners: dict[bytes, Listener] = {}
        self._on_qr = binder.func_string(self._qr)
        self._on_status = binder.func_string(self._status)
        self._on_event = binder.func_callback_bytes(self._event)
        self._on_log = binder.func_callback_bytes2(self._log_entry)
        self._log_level = LOG_LEVEL
        self._hear_log: Callable[[str], None] = _log_quietly

    def follow_log(self, hear: Callable[[str], None]) -> None:
        """Have the clients that are run from now on log all that they do; `hear` gets each line, in Go's threads.

        Some of what whatsmeow does is told by its log alone. It says a line for each stanza.
        """
        self._log_level, self._hear_log = b"DEBUG", hear

    def run_client(self, client: bytes, opening: Opening, listener: Listener) -> str:
        self._listeners[client] = listener
        proxy = None if opening.proxy is None else self._proxy_settings(opening.proxy)._to_c_struct()
        jid = opening.jid or b""
        try:
            error: bytes = self._go.Neonize(
                opening.database.encode(),
                client,
                jid,
                len(jid),
                int(opening.jid is None),
                self._log_level,
                self._on_qr,
                self._on_status,
                self._on_event,
                self._on_log,
                SUBSCRIBED,
                len(SUBSCRIBED),
                opening.device_props,
                len(opening.device_props),
                b"",
                0,
                None if proxy is None else ctypes.byref(proxy),
            )
        finally:
            self._listeners.pop(client, None)
        return error.decode(errors="replace")

    def disconnect(self, client: bytes) -> None:
        self._go.Disconnect(client)

    def stop_client(self, client: bytes) -> None:
        self._go.Stop(client)

    def send_message(self, client: bytes, to: bytes, message: bytes) -> bytes:
        answer: bytes = self._go.SendMessage(client, to, len(to), message, len(message))
        return answer

    def upload(self, client: bytes, data: bytes, media_type: int) -> bytes:
        answer: bytes = self._go.Upload(client, data, len(data), media_type)
        return answer

    def download(self, client: bytes, message: bytes) -> bytes:
        answer: bytes = self._go.DownloadAny(client, message, len(message))
        return answer

    def ask(self, client: bytes, function: str, arguments: tuple[bytes | int, ...]) -> bytes:
        answer: bytes = getattr(self._go, function)(client, *arguments)
        # Of some functions the binder hands over the struct itself, which is to be read and freed.
        return answer if isinstance(answer, bytes) else self._taken(answer, None, ())

    def pair_phone(self, client: bytes, params: bytes) -> bytes:
        answer: bytes = self._go.PairPhone(client, params, len(params))
        return answer

    def logout(self, client: bytes) -> str:
        return str(self._go.Logout(client).decode(errors="replace"))

    def list_devices(self, database: str) -> str:
        """Open a database, which makes its tables or brings them to this version; why that failed, or "".

        It stays open for good. What devices there are, is of no interest here.
        """
        answer: bytes = self._go.GetAllDevices(database.encode(), self._on_log)
        said = answer.decode(errors="replace")
        return said.removeprefix("error: ") if said.startswith("error: ") else ""

    def _event(self, client: bytes, data: int, size: int, kind: int) -> None:
        listener = self._listeners.get(client)
        if listener is not None:
            listener.on_event(kind, ctypes.string_at(data, size) if size > 0 else b"")

    def _qr(self, client: int, text: int) -> None:
        listener = self._listeners.get(ctypes.string_at(client))
        if listener is not None:
            listener.on_qr(ctypes.string_at(text).decode())

    def _status(self, client: int, status: int) -> None:
        listener = self._listeners.get(ctypes.string_at(client))
        if listener is not None:
            listener.on_pairing_status(ctypes.string_at(status).decode())

    def _log_entry(self, data: int, size: int) -> None:
        if data and size > 0 and (self._hear_log is not _log_quietly or log.isEnabledFor(logging.DEBUG)):
            from neonize.proto.Neonize_pb2 import LogEntry

            entry = LogEntry.FromString(ctypes.string_at(data, size))
            self._hear_log(f"{entry.Name}: {entry.Message}")


def _log_quietly(line: str) -> None:
    """whatsmeow's own log, at debug level: what matters of it is reported as a state or an outcome."""
    log.debug("whatsmeow %s", line)
