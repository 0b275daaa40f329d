"""How many messages a tenant may have accepted in a calendar month (UTC), exact over all replicas.

A message is counted before it is stored, and taken back when it surely was not: no more than the quota are ever
accepted, and what was refused costs nothing of a higher quota. A tenant without a quota is not counted at all.
"""

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime

from kurir.api.problems import Problem
from kurir.contracts import streams, subjects
from kurir.contracts.records import Tenant
from kurir.runtime import counters
from kurir.runtime.broker import Bus, PublishError
from kurir.runtime.clock import Clock


class MonthlyQuota:
    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock

    @contextlib.asynccontextmanager
    async def counted(self, tenant: Tenant, message_id: str, *, may_be_repeated: bool) -> AsyncIterator[None]:
        """Count a message that is stored within the block; a repeat under the same id is not counted again.

        `may_be_repeated`: the caller has a key for the message, so that it stays counted for the repeat when storing
        fails. Raises Problem QUOTA_EXCEEDED, then it is not counted and needs another id; or PublishError.
        """
        quota = tenant.messages_per_month
        if quota is None:
            yield
            return
        subject = self._subject(tenant)
        msg_id = f"quota-{message_id}"
        if await counters.add(self._bus, streams.QUOTAS.name, subject, 1, msg_id=msg_id) > quota:
            await self._take_back(subject, msg_id)
            raise Problem("QUOTA_EXCEEDED")
        try:
            yield
        except PublishError as error:
            if not may_be_repeated and not getattr(error, "outcome_unknown", False):
                await self._take_back(subject, msg_id)
            raise

    async def used(self, tenant: Tenant) -> int | None:
        """How many of this month's messages are used; None for a tenant without a quota. Raises BrokerUnavailable."""
        if tenant.messages_per_month is None:
            return None
        return await counters.total(self._bus, streams.QUOTAS.name, self._subject(tenant))

    def _subject(self, tenant: Tenant) -> str:
        return subjects.quota(tenant.id, month_of(self._clock.now()))

    async def _take_back(self, subject: str, msg_id: str) -> None:
        with contextlib.suppress(PublishError):  # one place too few, rather than one too many
            await counters.add(self._bus, streams.QUOTAS.name, subject, -1, msg_id=f"{msg_id}-back")


def month_of(at: datetime) -> str:
    """`2026-11`; `at` is in UTC."""
    return at.strftime("%Y-%m")
