"""Deletes history that is older than it is kept. A repeat finds less to delete.

TTL indexes would do on a real MongoDB; the embedded server keeps them and never deletes.
"""

import asyncio
from collections.abc import Mapping

from kurir.runtime.clock import Clock
from kurir.runtime.mongo import Mongo

BATCH = 1000
PAUSE_S = 0.05  # one long delete stalls the embedded server's other clients

_DAY_MS = 24 * 3600 * 1000


async def delete_old_history(mongo: Mongo, keep_days: Mapping[str, int], clock: Clock) -> int:
    """Delete from each collection what is older than its days; returns how many documents went.

    Raises MongoUnavailable; what was deleted until then stays deleted.
    """
    deleted = 0
    for collection, days in keep_days.items():
        before = int(clock.time() * 1000) - days * _DAY_MS
        while True:
            gone = await mongo.delete_older_than(collection, "at_ms", before, batch=BATCH)
            deleted += gone
            if gone < BATCH:
                break
            await asyncio.sleep(PAUSE_S)
    return deleted
