"""The circuits of all endpoints that have failed lately: who may be tried now, who is left alone.

Each dispatcher keeps its own; an endpoint that is down is found out by each within a few attempts.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from kurir.runtime.clock import Clock
from kurir.runtime.logs import get
from kurir.runtime.settlement import Retry
from kurir.webhook_dispatcher.circuit import Circuit, CircuitSettings
from kurir.webhook_dispatcher.measures import Measures

log = get("kurir.circuits")

PROBE_WITHIN_S: Final = 30.0  # then a probe is taken for lost: attempt and record end before that
GIVE_BACK_S: Final = 0.25  # a message that comes back before its endpoint is paused does not spin


@dataclass(slots=True)
class _Tripped:
    """The circuit of an endpoint that has failed lately, and what those wait for who may not be its probe."""

    circuit: Circuit
    probed: asyncio.Event = field(default_factory=asyncio.Event)
    resuming: asyncio.TimerHandle | None = None


class Circuits:
    """`pause` and `resume` hold back, and let go on, the deliveries of one endpoint."""

    def __init__(
        self,
        settings: CircuitSettings,
        clock: Clock,
        measures: Measures,
        *,
        pause: Callable[[str], None],
        resume: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._measures = measures
        self._pause, self._resume = pause, resume
        self._tripped: dict[str, _Tripped] = {}  # only those whose latest attempt failed

    @property
    def open(self) -> int:
        """Endpoints that are left alone at the moment."""
        return sum(tripped.circuit.is_tripped for tripped in self._tripped.values())

    def has_tripped(self, endpoint: str) -> bool:
        """Whether its latest attempt failed, so that `admit` has to be asked."""
        return endpoint in self._tripped

    async def admit(self, endpoint: str) -> None:
        """Return when an attempt may be made, which may be the probe that decides for all others.

        Raises Retry when the endpoint is left alone: it is paused then, and what comes back waits in its lane.
        """
        tripped = self._tripped.get(endpoint)
        if tripped is None or tripped.circuit.may_attempt(self._clock.monotonic(), PROBE_WITHIN_S):
            return
        if tripped.circuit.is_probing:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(tripped.probed.wait(), PROBE_WITHIN_S)
        if tripped.circuit.is_tripped:
            raise Retry(GIVE_BACK_S, "the endpoint is left alone")

    def succeeded(self, endpoint: str) -> None:
        """Note a success, or that nothing is sent to this endpoint any more: what waits need not wait for a probe."""
        tripped = self._tripped.pop(endpoint, None)
        if tripped is None:
            return
        if tripped.circuit.succeeded():
            log.info("circuit.closed", endpoint=endpoint)
        if tripped.resuming is not None:
            tripped.resuming.cancel()
        tripped.probed.set()
        self._resume(endpoint)

    def failed(self, endpoint: str) -> None:
        """Note a failure."""
        tripped = self._tripped.get(endpoint)
        if tripped is None:
            tripped = self._tripped[endpoint] = _Tripped(Circuit(self._settings))
        pause_s = tripped.circuit.failed(self._clock.monotonic())
        if pause_s is None:
            return
        log.info("circuit.opened", endpoint=endpoint, failures=tripped.circuit.failures, pause_s=pause_s)
        self._measures.circuit_opened()
        self._pause(endpoint)
        tripped.resuming = asyncio.get_running_loop().call_later(pause_s, self._resume, endpoint)
        tripped.probed.set()  # those who waited for the probe give their messages back
        tripped.probed = asyncio.Event()

    async def stop(self) -> None:
        """Let go of everybody who waits."""
        for tripped in self._tripped.values():
            if tripped.resuming is not None:
                tripped.resuming.cancel()
            tripped.probed.set()
