"""Drives libcurl's multi interface from the running asyncio loop: sockets, timer and completions, nothing of HTTP.

All of libcurl's sockets sit in one epoll set that the loop watches as a single file, so a busy moment costs one
callback for many sockets instead of one each, and a kept-alive socket needs no new registration per request.
Never blocks. Works on asyncio's own loop and on uvloop; Linux only, as epoll is.
"""

import asyncio
import contextlib
import select
from collections.abc import Callable

import pycurl

Completion = Callable[[int, str], None]  # libcurl's result code (0 is success) and its words for it

_EVENTS_AT_ONCE = 256  # then other callbacks of the loop get their turn


class CurlLoop:
    """Transfers of one asyncio loop. Must be created, used and closed on that loop."""

    def __init__(self, *, idle_connections: int, connections_per_host: int) -> None:
        """`idle_connections` stay open for reuse; `connections_per_host` 0 means no limit."""
        self._loop = asyncio.get_running_loop()
        self._limits = {pycurl.M_MAXCONNECTS: idle_connections, pycurl.M_MAX_HOST_CONNECTIONS: connections_per_host}
        self._completions: dict[pycurl.Curl, Completion] = {}
        self._interest: dict[int, int] = {}
        self._registered: dict[int, int] = {}  # sockets by what the kernel watches them for
        self._epoll = select.epoll()
        self._due_at: float | None = None
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0
        self._kick: asyncio.Handle | None = None
        self._multi = self._new_multi()
        self._loop.add_reader(self._epoll.fileno(), self._on_sockets_ready)

    def start(self, curl: pycurl.Curl, completion: Completion) -> None:
        """Begins the transfer that the handle describes. `completion` is called once, unless `cancel` comes first."""
        self._multi.add_handle(curl)
        self._completions[curl] = completion

    def cancel(self, curl: pycurl.Curl) -> None:
        """Ends a transfer now, without its completion; its connection is closed. Harmless when it has ended."""
        if self._completions.pop(curl, None) is not None:
            self._multi.remove_handle(curl)

    def opened(self) -> None:
        """To be called whenever a socket is opened for libcurl: it may have the number of one that was closed."""
        self._registered.clear()

    def close(self) -> None:
        """Closes every connection. Transfers must have been cancelled. Repeating it is harmless."""
        if self._epoll.closed:
            return
        self._loop.remove_reader(self._epoll.fileno())
        for handle in (self._timer, self._kick):
            if handle is not None:
                handle.cancel()
        self._multi.close()
        self._epoll.close()

    def _new_multi(self) -> pycurl.CurlMulti:
        multi = pycurl.CurlMulti()
        for limit, value in self._limits.items():
            multi.setopt(limit, value)
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_interest)
        multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timeout_wanted)
        return multi

    # libcurl asks. These run inside its calls, must not call it back, and must not raise: that kills the multi handle.

    def _on_interest(self, wanted: int, fd: int, _multi: object, _assigned: object) -> None:
        if wanted in (pycurl.POLL_REMOVE, pycurl.POLL_NONE):
            # The registration stays: nearly always the same socket is wanted again for the next request. If it is
            # closed instead, the kernel drops the registration with it.
            self._interest.pop(fd, None)
            return
        self._interest[fd] = wanted
        events = (select.EPOLLIN if wanted & pycurl.POLL_IN else 0) | (
            select.EPOLLOUT if wanted & pycurl.POLL_OUT else 0
        )
        if self._registered.get(fd) == events:
            return
        try:
            self._epoll.modify(fd, events)
        except FileNotFoundError:  # new here, or its number belonged to a socket that is closed by now
            self._epoll.register(fd, events)
        self._registered[fd] = events

    def _on_timeout_wanted(self, timeout_ms: int) -> None:
        if timeout_ms == 0:
            self._kick = self._kick or self._loop.call_soon(self._on_kick)
            return
        if timeout_ms < 0:
            self._due_at = None
            return
        self._due_at = self._loop.time() + timeout_ms / 1000
        # A timer that fires too early re-arms itself: cheaper than moving it with every request.
        if self._timer is None or self._timer_at > self._due_at:
            self._arm(self._due_at)

    # The loop tells.

    def _on_kick(self) -> None:
        self._kick = None
        self._act(pycurl.SOCKET_TIMEOUT, 0)
        self._complete()

    def _on_timer(self) -> None:
        self._timer = None
        if self._due_at is None:
            return
        if self._loop.time() < self._due_at:
            self._arm(self._due_at)
            return
        self._due_at = None
        self._act(pycurl.SOCKET_TIMEOUT, 0)
        self._complete()

    def _on_sockets_ready(self) -> None:
        for fd, events in self._epoll.poll(0, _EVENTS_AT_ONCE):
            wanted = self._interest.get(fd)
            if wanted is None:  # an idle connection: its peer closed it, libcurl sees that at the next request
                self._registered.pop(fd, None)
                with contextlib.suppress(OSError):  # closed since, by an earlier one of these events
                    self._epoll.unregister(fd)
                continue
            mask = 0
            if events & ~select.EPOLLOUT:  # errors and hang-ups are found by reading
                mask |= pycurl.CSELECT_IN
            if events & select.EPOLLOUT:
                mask |= pycurl.CSELECT_OUT
            self._act(fd, mask)
        self._complete()

    def _act(self, fd: int, mask: int) -> None:
        try:
            self._multi.socket_action(fd, mask)
        except pycurl.error as error:
            self._start_over(str(error))

    def _start_over(self, words: str) -> None:
        """libcurl gave up the whole multi handle; without this nothing in flight would ever end."""
        broken, self._multi = self._multi, self._new_multi()
        orphans, self._completions = self._completions, {}
        self._interest.clear()
        self._registered.clear()
        for curl in orphans:
            with contextlib.suppress(pycurl.error):
                broken.remove_handle(curl)
        broken.close()
        for completion in orphans.values():
            completion(pycurl.E_ABORTED_BY_CALLBACK, words)

    def _complete(self) -> None:
        _, succeeded, failed = self._multi.info_read()
        for curl in succeeded:
            self._end(curl, 0, "")
        for curl, code, words in failed:
            self._end(curl, code, words)

    def _end(self, curl: pycurl.Curl, code: int, words: str) -> None:
        completion = self._completions.pop(curl, None)
        if completion is not None:
            self._multi.remove_handle(curl)
            completion(code, words)

    def _arm(self, due_at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due_at
        self._timer = self._loop.call_at(due_at, self._on_timer)
