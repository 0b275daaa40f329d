"""Ends this process at a moment that only the process itself can put off: by the kernel, whatever it does then.

Who is frozen, swapped out or stuck does not see that the time is over, keeps its connections open meanwhile, and when
it wakes its threads run before one of them looks at the clock. This needs nobody to look: SIGKILL by a timer of the
kernel ends a stopped process too, and closes its sockets. The timer goes on while the machine is suspended and fires
when it is resumed. Linux only; elsewhere nothing happens.
"""

import contextlib
import ctypes
import signal
import time
from typing import ClassVar

_SIGEV_SIGNAL, _TIMER_ABSTIME = 0, 1  # signal.h, time.h
_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


class _SignalEvent(ctypes.Structure):
    _fields_: ClassVar = [
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("reserved", ctypes.c_char * 48),
    ]


class _Moment(ctypes.Structure):
    _fields_: ClassVar = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _Setting(ctypes.Structure):
    _fields_: ClassVar = [("interval", _Moment), ("value", _Moment)]


class KillTimer:
    """Of this process; not set at first. Children do not inherit it."""

    def __init__(self) -> None:
        self._timer: ctypes.c_void_p | None = None
        if _CLOCK is None:
            return
        with contextlib.suppress(OSError, AttributeError):  # a C library without it
            self._libc = ctypes.CDLL(None, use_errno=True)
            event = _SignalEvent(None, signal.SIGKILL, _SIGEV_SIGNAL)
            timer = ctypes.c_void_p()
            if self._libc.timer_create(_CLOCK, ctypes.byref(event), ctypes.byref(timer)) == 0:
                self._timer = timer

    @property
    def works(self) -> bool:
        """False where the system has no such timer."""
        return self._timer is not None

    def set(self, at: float | None) -> None:
        """End the process at this moment of CLOCK_BOOTTIME instead of the one before; None: at none."""
        if self._timer is None:
            return
        whole = 0 if at is None else int(at)
        moment = _Moment(whole, 0 if at is None else int((at - whole) * 1e9))
        setting = _Setting(_Moment(0, 0), moment)
        if self._libc.timer_settime(self._timer, _TIMER_ABSTIME, ctypes.byref(setting), None) != 0:
            raise OSError(ctypes.get_errno(), "timer_settime")
