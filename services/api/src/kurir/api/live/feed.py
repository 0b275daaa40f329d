"""The state of devices as it changes, to whoever watches: one bounded queue for each watcher.

Fed from memory, which follows the bus: a watcher costs the bus nothing. Each gets every state from the current one
on; one that does not keep up is ended and never holds up another.
"""

import asyncio
from collections import defaultdict

from msgspec import Struct

from kurir.api.devices.schemas import answering, status_of
from kurir.api.problems import Problem
from kurir.contracts.records import Device, Session
from kurir.runtime.registry import Registry

QUEUE = 32  # states; a pairing has about five
MAX_WATCHERS = 50  # of one device: a dashboard per employee, and some that forgot to close theirs


class DeviceState(Struct, frozen=True):
    """`revision` grows with each change of the session; 0 before there was one."""

    revision: int
    device: Device
    session: Session | None

    @property
    def status(self) -> str:
        return status_of(self.device, self.session)


class Watch:
    """One watcher: `next` gives states, then None when there is nothing more to come."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[DeviceState | None] = asyncio.Queue(QUEUE)
        self.has_ended = False

    async def next(self) -> DeviceState | None:
        if self.has_ended and self._queue.empty():
            return None
        return await self._queue.get()

    def offer(self, state: DeviceState | None) -> None:
        if self.has_ended:
            return
        if state is None or self._queue.full():
            self.has_ended = True
            if self._queue.empty():
                self._queue.put_nowait(None)
            return
        self._queue.put_nowait(state)


class DeviceFeed:
    """`start` before the first watcher, `stop` to end all of them."""

    def __init__(self, devices: Registry[Device], sessions: Registry[Session]) -> None:
        self._devices = devices
        self._sessions = sessions
        self._watches: defaultdict[str, set[Watch]] = defaultdict(set)
        self._forget = [devices.on_change(self._changed), sessions.on_change(self._changed)]
        self._is_stopped = False

    async def stop(self) -> None:
        """End every watch, so that open streams do not hold up the end of the process."""
        self._is_stopped = True
        for forget in self._forget:
            forget()
        for watches in self._watches.values():
            for watch in watches:
                watch.offer(None)

    def admit(self, device: Device) -> None:
        """Raise Problem LIMIT_REACHED when as many watch the device as may. Ask before the answer has begun."""
        if len(self._watches.get(f"{device.tenant}.{device.id}", ())) >= MAX_WATCHERS:
            raise Problem("LIMIT_REACHED", "This device is watched by too many at once.")

    def open(self, device: Device) -> Watch:
        """Watch a device, beginning with its current state; end with `close`."""
        key = f"{device.tenant}.{device.id}"
        watch = Watch()
        watch.offer(None if self._is_stopped else self._state(key))
        self._watches[key].add(watch)
        return watch

    def close(self, device: Device, watch: Watch) -> None:
        key = f"{device.tenant}.{device.id}"
        self._watches[key].discard(watch)
        if not self._watches[key]:
            del self._watches[key]

    def _changed(self, key: str, _old: object, _new: object) -> None:
        if key in self._watches:
            state = self._state(key)
            for watch in self._watches[key]:
                watch.offer(state)

    def _state(self, key: str) -> DeviceState | None:
        device = self._devices.get(key)
        entry = self._sessions.entry(key)
        if device is None:
            return None
        session = answering(device, entry.value if entry else None)
        return DeviceState(entry.revision if entry else 0, device, session)
