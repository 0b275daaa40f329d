"""How each endpoint fares: failing since when, disabled or not. Written to the bucket `endpoint_state` for the api.

Disabling is confirmed before the delivery that caused it is settled. That an endpoint began to fail, or recovered, is
written within FLUSH_S, and how many failures there were is written along with it, not with each failure. A disabled
endpoint is served again once its record has been changed since: that is how a tenant turns it on.
"""

import asyncio
from datetime import datetime, timedelta

import msgspec

from kurir.contracts import ids
from kurir.contracts.deliveries import ConfigurationChanged
from kurir.contracts.records import Endpoint, EndpointState
from kurir.runtime.broker import Bus, PublishError
from kurir.runtime.logs import get
from kurir.runtime.registry import Registry
from kurir.webhook_dispatcher.attempts import AuditTrail
from kurir.webhook_dispatcher.endpoints import endpoint_key

log = get("kurir.endpoint_health")

FLUSH_S = 1.0
COUNT_EVERY_S = 60.0  # a count of failures that is that old is good enough for a dashboard


class EndpointHealth:
    """Told of each attempt's end; asked before each attempt."""

    def __init__(self, bus: Bus, audit: AuditTrail, disable_after_s: float) -> None:
        self._registry = Registry(bus, "endpoint_state", EndpointState)
        self._audit = audit
        self._disable_after = timedelta(seconds=disable_after_s)
        self._failures: dict[str, int] = {}  # since the last success seen here
        self._unwritten: dict[str, EndpointState] = {}
        self._flushing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._registry.start()
        self._flushing = asyncio.create_task(self._flush_for_ever())

    async def stop(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)
            await self._flush()
        await self._registry.stop()

    def is_disabled(self, endpoint: Endpoint) -> bool:
        """Whether nothing is to be sent to `endpoint` until its tenant changes its record."""
        state = self._registry.get(endpoint_key(endpoint.tenant, endpoint.id))
        return state is not None and state.disabled and state.at >= endpoint.updated_at

    def succeeded(self, endpoint: Endpoint, at: datetime) -> None:
        """Note that `endpoint` took a delivery."""
        key = endpoint_key(endpoint.tenant, endpoint.id)
        self._failures.pop(key, None)
        state = self._known(key)
        if state is not None and state.failing_since is not None:
            self._unwritten[key] = EndpointState(endpoint=endpoint.id, tenant=endpoint.tenant, at=at)
            log.info("endpoint.recovered", tenant=endpoint.tenant, endpoint=endpoint.id)

    def failed(self, endpoint: Endpoint, at: datetime) -> bool:
        """Note that `endpoint` did not; True when it has failed for so long that it is to be disabled."""
        key = endpoint_key(endpoint.tenant, endpoint.id)
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        state = self._known(key)
        if state is None or state.failing_since is None or state.disabled:
            # Disabled and still served means that the tenant has turned it on again: its time starts anew.
            state = EndpointState(endpoint=endpoint.id, tenant=endpoint.tenant, at=at, failing_since=at)
            self._unwritten[key] = msgspec.structs.replace(state, consecutive_failures=failures)
            log.info("endpoint.failing", tenant=endpoint.tenant, endpoint=endpoint.id)
        elif (at - state.at).total_seconds() >= COUNT_EVERY_S:
            self._unwritten[key] = msgspec.structs.replace(state, at=at, consecutive_failures=failures)
        return state.failing_since is not None and at - state.failing_since >= self._disable_after

    async def disable(self, endpoint: Endpoint, at: datetime, reason: str) -> None:
        """Send nothing more to `endpoint`, and say so in the audit. Repeating it is harmless. Raises PublishError."""
        if self.is_disabled(endpoint):
            return
        key = endpoint_key(endpoint.tenant, endpoint.id)
        state = self._known(key)
        self._unwritten.pop(key, None)
        await self._registry.put(
            key,
            EndpointState(
                endpoint=endpoint.id,
                tenant=endpoint.tenant,
                at=max(at, endpoint.updated_at),  # of two clocks, ours may be behind
                failing_since=state.failing_since if state is not None else None,
                consecutive_failures=self._failures.get(key, 0),
                disabled=True,
                reason=reason,
            ),
        )
        log.warning("endpoint.disabled", tenant=endpoint.tenant, endpoint=endpoint.id, reason=reason)
        await self._audit.record(
            ConfigurationChanged(
                id=ids.uuid7(),
                tenant=endpoint.tenant,
                what="endpoint.disabled",
                at=at,
                actor="webhook-dispatcher",
                target=endpoint.id,
                device=endpoint.device,
                details={"reason": reason},
            )
        )

    def _known(self, key: str) -> EndpointState | None:
        return self._unwritten.get(key) or self._registry.get(key)

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            await self._flush()

    async def _flush(self) -> None:
        for key, state in list(self._unwritten.items()):
            try:
                await self._registry.put(key, state)
            except PublishError:
                return  # written by the next flush
            if self._unwritten.get(key) is state:
                del self._unwritten[key]
