"""The floor of posting with the HTTP client that Kurir uses: libcurl's multi interface in a plain loop.

Each handle is set up once and begins again as soon as it has ended, always with the same bytes. No event loop, no
futures, no judging of addresses, no deadlines.
"""

import select
import time

import pycurl

from benchmarks.floors import Rate, cpu_s
from benchmarks.sink import HOSTS


def curl_posts(port: int, request: bytes, in_flight: int, count: int) -> Rate:
    """Post `request` (complete bytes of one HTTP request) `count` times, that many at once."""
    loop = _Loop()
    curls = [_posting(HOSTS[number % len(HOSTS)], port, request) for number in range(in_flight)]
    for curl in curls:
        loop.multi.add_handle(curl)
    began, cpu_before = time.perf_counter(), cpu_s()
    done = 0
    while done < count:
        for curl in loop.ended():
            done += 1
            loop.multi.remove_handle(curl)
            loop.multi.add_handle(curl)
    rate = Rate(per_s=done / (time.perf_counter() - began), cpu_us=(cpu_s() - cpu_before) / done * 1e6)
    for curl in curls:
        loop.multi.remove_handle(curl)
        curl.close()
    loop.multi.close()
    return rate


def _posting(host: str, port: int, request: bytes) -> pycurl.Curl:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, f"http://{host}:{port}{first.split()[1].decode()}")
    curl.setopt(pycurl.HTTPHEADER, [line for line in lines if not line.lower().startswith((b"host:", b"content-len"))])
    curl.setopt(pycurl.POSTFIELDS, body)
    curl.setopt(pycurl.NOSIGNAL, 1)
    return curl


class _Loop:
    """libcurl's sockets in one epoll set."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._known: set[int] = set()
        self._timeout_s = 0.0
        self.multi = pycurl.CurlMulti()
        self.multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_interest)
        self.multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timeout)

    def ended(self) -> list[pycurl.Curl]:
        """Wait for sockets, act, and return the handles that are through. Raises RuntimeError for one that failed."""
        ready = self._epoll.poll(max(self._timeout_s, 0.0) if self._known else 0.0)
        if not ready or self._timeout_s == 0.0:
            self.multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        for fd, events in ready:
            mask = (pycurl.CSELECT_IN if events & ~select.EPOLLOUT else 0) | (
                pycurl.CSELECT_OUT if events & select.EPOLLOUT else 0
            )
            self.multi.socket_action(fd, mask)
        _, succeeded, failed = self.multi.info_read()
        if failed:
            raise RuntimeError(f"the sink refused: {failed[0][2]}")
        return list(succeeded)

    def _on_interest(self, wanted: int, fd: int, _multi: object, _assigned: object) -> None:
        if wanted in (pycurl.POLL_REMOVE, pycurl.POLL_NONE):
            return  # the same socket is wanted again for the next request
        events = (select.EPOLLIN if wanted & pycurl.POLL_IN else 0) | (
            select.EPOLLOUT if wanted & pycurl.POLL_OUT else 0
        )
        if fd in self._known:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
            self._known.add(fd)

    def _on_timeout(self, timeout_ms: int) -> None:
        self._timeout_s = timeout_ms / 1000
