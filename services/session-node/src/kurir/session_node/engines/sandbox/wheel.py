"""One timer for very many appointments: everything due in the same tick runs in one callback of the event loop.

Appointments run never early, at most one tick late, and in the order in which they were made within a tick.
They cannot be cancelled: who makes one checks on arrival whether it still matters.
"""

import asyncio
import heapq
import time
from collections.abc import Callable
from typing import Any

Appointment = tuple[Callable[..., None], tuple[Any, ...]]


class Wheel:
    """Bound to the running loop at the first appointment; `tick_s` is both its resolution and its cost."""

    def __init__(self, tick_s: float = 0.01) -> None:
        self._tick_s = tick_s
        self._slots: dict[int, list[Appointment]] = {}
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_slot = 0
        self._after_tick: Callable[[], None] | None = None

    def after_each_tick(self, call: Callable[[], None]) -> None:
        """`call` runs once after every tick that had appointments."""
        self._after_tick = call

    def after(self, delay_s: float, call: Callable[..., None], *args: Any) -> None:
        """Call `call(*args)` in `delay_s` seconds."""
        slot = int((time.monotonic() + delay_s) / self._tick_s) + 1
        appointments = self._slots.get(slot)
        if appointments is None:
            self._slots[slot] = [(call, args)]
            heapq.heappush(self._order, slot)
            if self._timer is None or slot < self._timer_slot:
                self._set_timer()
        else:
            appointments.append((call, args))

    def stop(self) -> None:
        """Forget all appointments."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._slots.clear()
        self._order.clear()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_slot = self._order[0]
        wait_s = self._timer_slot * self._tick_s - time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, wait_s), self._run_due)

    def _run_due(self) -> None:
        self._timer = None
        now_slot = int(time.monotonic() / self._tick_s)
        while self._order and self._order[0] <= now_slot:
            for call, args in self._slots.pop(heapq.heappop(self._order)):
                try:
                    call(*args)
                except Exception as error:
                    asyncio.get_running_loop().call_exception_handler(
                        {"message": "an appointment of the sandbox failed", "exception": error}
                    )
        if self._order:
            self._set_timer()
        if self._after_tick is not None:
            self._after_tick()
