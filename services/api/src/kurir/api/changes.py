"""Telling the audit log who changed what. Best effort: a change that happened is not undone because nobody heard."""

import msgspec

from kurir.contracts import ids, subjects
from kurir.contracts.deliveries import ConfigurationChanged
from kurir.contracts.records import ApiKey
from kurir.runtime import logs
from kurir.runtime.broker import Bus, PublishError
from kurir.runtime.clock import Clock

TIMEOUT_S = 2.0
WHAT = "configuration.changed"

log = logs.get("kurir.api.changes")
_encoder = msgspec.json.Encoder()


class Changes:
    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock

    async def tell(
        self, tenant: str, what: str, *, actor: ApiKey | str, target: str, device: str | None = None, **details: str
    ) -> None:
        """Record a change, e.g. `device.created`. `details` must not hold a secret."""
        change = ConfigurationChanged(
            id=ids.uuid7(),
            tenant=tenant,
            what=what,
            at=self._clock.now(),
            actor=actor if isinstance(actor, str) else actor.id,
            target=target,
            device=device,
            details=details,
        )
        try:
            await self._bus.publish(
                subjects.audit(tenant, WHAT), _encoder.encode(change), msg_id=change.id, timeout_s=TIMEOUT_S
            )
        except PublishError as error:
            log.warning("change.not_told", what=what, tenant=tenant, target=target, error=str(error))
            return
        log.info("configuration.changed", what=what, tenant=tenant, actor=change.actor, target=target)
