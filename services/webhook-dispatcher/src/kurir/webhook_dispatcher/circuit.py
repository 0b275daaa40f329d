"""When to leave an endpoint alone that fails again and again. Pure: a state machine that is told the time.

Closed, everything goes out. After `threshold` failures in a row it opens for a pause; then one attempt is let through
as a probe. A probe that fails opens it again for twice as long, up to `longest_s`; any success closes it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CircuitSettings:
    threshold: int = 5
    first_s: float = 30.0
    longest_s: float = 15 * 60.0


class Circuit:
    """The circuit of one endpoint."""

    __slots__ = ("_failures", "_open_until", "_pause_s", "_probe_until", "_settings")

    def __init__(self, settings: CircuitSettings) -> None:
        self._settings = settings
        self._failures = 0
        self._pause_s = 0.0
        self._open_until = 0.0
        self._probe_until = 0.0

    @property
    def failures(self) -> int:
        """Failures since the last success."""
        return self._failures

    @property
    def is_tripped(self) -> bool:
        """True from the failure that opened it until a success, also while a probe is under way."""
        return self._pause_s > 0

    @property
    def is_probing(self) -> bool:
        """True while a probe is under way."""
        return self._probe_until > 0

    def may_attempt(self, now: float, probe_s: float) -> bool:
        """Whether an attempt may be made now. After a pause True is said once: to the probe.

        A probe that says nothing within `probe_s` is taken for lost, and another one let through.
        """
        if not self.is_tripped:
            return True
        if now < max(self._open_until, self._probe_until):
            return False
        self._probe_until = now + probe_s
        return True

    def succeeded(self) -> bool:
        """Note a success; True when it closed the circuit."""
        was_tripped = self.is_tripped
        self._failures, self._pause_s, self._open_until, self._probe_until = 0, 0.0, 0.0, 0.0
        return was_tripped

    def failed(self, now: float) -> float | None:
        """Note a failure; the seconds that the circuit is open from now, when this failure opened it (again)."""
        self._failures += 1
        if now < self._open_until:
            return None  # an attempt that was under way when it opened
        if not self.is_tripped:
            if self._failures < self._settings.threshold:
                return None
            self._pause_s = self._settings.first_s
        else:
            self._pause_s = min(self._pause_s * 2, self._settings.longest_s)
        self._probe_until = 0.0
        self._open_until = now + self._pause_s
        return self._pause_s
