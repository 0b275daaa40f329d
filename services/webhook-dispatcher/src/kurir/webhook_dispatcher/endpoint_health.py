"""How each endpoint fares: failing since when, disabled or not. Written to the bucket `endpoint_state` for the api, and
told as events when it changes: failing after several failures in a row, recovered, disabled.

Disabling is confirmed before the delivery that caused it is settled. That an endpoint began to fail, or recovered, is
written within FLUSH_S, and how many failures there were is written along with it, not with each failure. Each event is
numbered by the state that it leads to and stored before that state is, which no other dispatcher may have changed
meanwhile: so it is told once, whoever dies when. A disabled endpoint is served again once its record has been changed
since: that is how a tenant turns it on.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec.structs import replace

from kurir.contracts import ids
from kurir.contracts.deliveries import ConfigurationChanged, DeliveryAttempt
from kurir.contracts.events import EndpointDisabled, EndpointEvent, EndpointFailing, EndpointRecovered
from kurir.contracts.records import Endpoint, EndpointState
from kurir.runtime.broker import Bus, PublishError
from kurir.runtime.keyvalue import KeyExists, RevisionConflict
from kurir.runtime.logs import get
from kurir.runtime.registry import Registry
from kurir.webhook_dispatcher.attempts import AuditTrail
from kurir.webhook_dispatcher.endpoint_events import about, tell
from kurir.webhook_dispatcher.endpoints import endpoint_key

log = get("kurir.endpoint_health")

FLUSH_S: Final = 1.0
FAILING_LASTS: Final = timedelta(minutes=1)  # one that takes an event now and then fails all the same
COUNT_EVERY_S: Final = 60.0  # a count of failures that is that old is good enough for a dashboard
WRITE_ATTEMPTS: Final = 8  # against other dispatchers, each of which writes an endpoint once a second at most

Step = tuple[EndpointState, EndpointEvent | None]
"""A new state, and what is told of it."""


class Streak(msgspec.Struct):
    """Failures in a row that this process has seen, and the latest of them."""

    since: datetime
    at: datetime
    error: str
    status: int | None = None
    failures: int = 0


class EndpointHealth:
    """Told of each attempt's end; asked before each attempt."""

    def __init__(self, bus: Bus, audit: AuditTrail, *, disable_after_s: float, failing_after: int) -> None:
        """`failing_after` failures in a row are told of as an event."""
        self._bus = bus
        self._registry = Registry(bus, "endpoint_state", EndpointState)
        self._audit = audit
        self._disable_after = timedelta(seconds=disable_after_s)
        self._failing_after = failing_after
        self._streaks: dict[str, Streak] = {}
        self._unwritten: dict[str, tuple[Endpoint, datetime]] = {}  # whose state has changed, and when
        self._flushing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._registry.start()
        self._flushing = asyncio.create_task(self._flush_for_ever(), name="endpoint-health")

    async def stop(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)
            await self._flush()
        await self._registry.stop()

    def is_disabled(self, endpoint: Endpoint) -> bool:
        """Whether nothing is to be sent to `endpoint` until its tenant changes its record."""
        state = self._registry.get(endpoint_key(endpoint.tenant, endpoint.id))
        return state is not None and _is_disabled(state, endpoint)

    def failing(self, now: datetime) -> list[str]:
        """The ids of the endpoints that fail, or did until FAILING_LASTS ago, whichever dispatcher has noticed."""
        since = now - FAILING_LASTS
        return [
            state.endpoint
            for _, state in self._registry.items()
            if not state.disabled and (state.failing_since is not None or state.at >= since)
        ]

    def succeeded(self, endpoint: Endpoint, at: datetime) -> None:
        """Note that `endpoint` took a delivery."""
        key = endpoint_key(endpoint.tenant, endpoint.id)
        self._streaks.pop(key, None)
        state = self._registry.get(key)
        if state is not None and state.failing_since is not None:
            self._unwritten[key] = endpoint, at
        else:
            self._unwritten.pop(key, None)

    def failed(self, endpoint: Endpoint, at: datetime, error: str, status: int | None) -> bool:
        """Note that `endpoint` did not, and why; True when it has failed for so long that it is to be disabled."""
        key = endpoint_key(endpoint.tenant, endpoint.id)
        state = self._registry.get(key)
        streak = self._streaks.get(key)
        # Disabled and still served means that the tenant has turned it on again: its time starts anew.
        if streak is None or (state is not None and state.disabled):
            streak = self._streaks[key] = Streak(at, at, error)
        streak.at, streak.error, streak.status = at, error, status
        streak.failures += 1
        is_known = state is not None and state.failing_since is not None and not state.disabled
        if (
            state is None
            or not is_known
            or (state.last_told != "failing" and streak.failures >= self._failing_after)
            or (at - state.at).total_seconds() >= COUNT_EVERY_S
        ):
            self._unwritten[key] = endpoint, at
        since = state.failing_since if state is not None and is_known else None
        return at - (since or streak.since) >= self._disable_after

    async def disable(self, endpoint: Endpoint, attempt: DeliveryAttempt, reason: str) -> None:
        """Send nothing more to `endpoint`, and say so. Repeating it is harmless. Raises PublishError."""
        if self.is_disabled(endpoint):
            return
        key = endpoint_key(endpoint.tenant, endpoint.id)
        self._unwritten.pop(key, None)
        streak = self._streaks.pop(key, None)
        failures = streak.failures if streak is not None else 0
        await self._write(key, endpoint, lambda state: disabled(state, endpoint, attempt, reason, failures))
        log.warning("endpoint.disabled", tenant=endpoint.tenant, endpoint=endpoint.id, reason=reason)
        await self._audit.record(
            ConfigurationChanged(
                id=ids.uuid7(),
                tenant=endpoint.tenant,
                what="endpoint.disabled",
                at=attempt.at,
                actor="webhook-dispatcher",
                target=endpoint.id,
                device=endpoint.device,
                details={"reason": reason},
            )
        )

    async def _write(self, key: str, endpoint: Endpoint, step: Callable[[EndpointState], Step]) -> None:
        """Tell of a change and write it, unless somebody else did. Raises PublishError."""
        entry = self._registry.entry(key)
        for _ in range(WRITE_ATTEMPTS):
            known = EndpointState(endpoint=endpoint.id, tenant=endpoint.tenant, at=endpoint.created_at)
            if entry is not None:
                known = entry.value
            state, event = step(known)
            if state == known:
                return
            if event is not None:
                await tell(self._bus, event)
            try:
                if entry is None:
                    await self._registry.create(key, state)
                else:
                    await self._registry.update(key, state, entry.revision)
            except (KeyExists, RevisionConflict):
                entry = await self._registry.fetch(key)
            else:
                return
        raise RevisionConflict(key)

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            await self._flush()

    async def _flush(self) -> None:
        for key, noted in list(self._unwritten.items()):
            try:
                await self._write_noted(key, *noted)
            except (PublishError, RevisionConflict) as error:
                log.warning("endpoint.state_unwritten", endpoint=noted[0].id, error=str(error))
                return  # written by the next flush
            if self._unwritten.get(key) is noted:
                del self._unwritten[key]

    async def _write_noted(self, key: str, endpoint: Endpoint, at: datetime) -> None:
        streak = self._streaks.get(key)
        if streak is None:
            await self._write(key, endpoint, lambda state: recovered(state, endpoint, at))
        else:
            await self._write(key, endpoint, lambda state: failing(state, endpoint, streak, self._failing_after))


def _is_disabled(state: EndpointState, endpoint: Endpoint) -> bool:
    return state.disabled and state.at >= endpoint.updated_at


def recovered(state: EndpointState, endpoint: Endpoint, at: datetime) -> Step:
    """After a success."""
    if _is_disabled(state, endpoint) or state.failing_since is None:
        return state, None  # disabled while the request was under way
    told = state.told
    event = None
    if state.last_told != "recovered":
        told += 1
        event = EndpointRecovered(**about(endpoint, "recovered", told, at), failing_since=state.failing_since)
    return EndpointState(endpoint=endpoint.id, tenant=endpoint.tenant, at=at, told=told), event


def failing(state: EndpointState, endpoint: Endpoint, streak: Streak, failing_after: int) -> Step:
    """After failures in a row."""
    if _is_disabled(state, endpoint):
        return state, None
    since = streak.since if state.failing_since is None or state.disabled else state.failing_since
    after = replace(
        state,
        at=streak.at,
        failing_since=since,
        consecutive_failures=streak.failures,
        disabled=False,
        reason=None,
        error=streak.error,
        status=streak.status,
    )
    if streak.failures < failing_after or state.last_told == "failing":
        return after, None
    after = replace(after, told=state.told + 1, last_told="failing")
    event = EndpointFailing(
        **about(endpoint, "failing", after.told, streak.at),
        failing_since=since,
        failures=streak.failures,
        error=streak.error,
        status=streak.status,
    )
    return after, event


def disabled(state: EndpointState, endpoint: Endpoint, attempt: DeliveryAttempt, reason: str, failures: int) -> Step:
    """After the attempt that was the last one."""
    if _is_disabled(state, endpoint):
        return state, None
    after = replace(
        state,
        at=max(attempt.at, endpoint.updated_at),  # of two clocks, ours may be behind
        failing_since=state.failing_since or attempt.at,
        consecutive_failures=failures,
        disabled=True,
        reason=reason,
        error=attempt.error,
        status=attempt.status,
        told=state.told + 1,
        last_told="disabled",
    )
    event = EndpointDisabled(
        **about(endpoint, "disabled", after.told, attempt.at),
        reason=reason,
        failing_since=after.failing_since,
        error=attempt.error,
        status=attempt.status,
    )
    return after, event
