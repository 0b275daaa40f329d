"""Deletes history that is older than it is kept: as long as the operator says, or as a tenant's own policy says.

A repeat finds less to delete. TTL indexes would know no policies, and the embedded server keeps them and never deletes.
"""

import asyncio
from collections.abc import Iterable, Mapping

from kurir.contracts.records import Tenant
from kurir.runtime.clock import Clock
from kurir.runtime.mongo import Mongo

BATCH = 1000
PAUSE_S = 0.05  # one long delete stalls the embedded server's other clients

OF_TENANTS = ("events", "attempts")
"""What a tenant's policy is about. How long changes are kept is the operator's: they tell who did what."""

_DAY_MS = 24 * 3600 * 1000


async def delete_old_history(
    mongo: Mongo, keep_days: Mapping[str, int], tenants: Iterable[Tenant], clock: Clock
) -> int:
    """Delete from each collection what is older than its days, or its tenant's; returns how many documents went.

    Raises MongoUnavailable; what was deleted until then stays deleted.
    """
    now_ms = int(clock.time() * 1000)
    known = list(tenants)
    deleted = 0
    for collection, days in keep_days.items():
        own = {tenant.id: tenant.keep_days or days for tenant in known if collection in OF_TENANTS}
        longest = max([days, *own.values()])
        # What nobody keeps goes at once, that of deleted tenants too; the rest tenant by tenant.
        deleted += await _delete(mongo, collection, {}, now_ms - longest * _DAY_MS)
        for tenant, kept in own.items():
            if kept < longest:
                deleted += await _delete(mongo, collection, {"tenant": tenant}, now_ms - kept * _DAY_MS)
    return deleted


async def _delete(mongo: Mongo, collection: str, filter: Mapping[str, str], before_ms: int) -> int:
    deleted = 0
    while True:
        gone = await mongo.delete_older_than(collection, "at_ms", before_ms, filter=filter, batch=BATCH)
        deleted += gone
        if gone < BATCH:
            return deleted
        await asyncio.sleep(PAUSE_S)
