"""History goes when it is older than it is kept: by the operator's days, or by the tenant's own policy."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from kurir.contracts.records import Tenant
from kurir.runtime.mongo import Mongo
from kurir.scheduler.jobs import retention
from kurir.scheduler.jobs.retention import delete_old_history
from tests.support.manual_clock import ManualClock
from tests.support.mongo_server import MongoServer

DAY_MS = 24 * 3600 * 1000
KEEP = {"events": 30, "attempts": 30, "changes": 365}


@pytest.fixture
async def own_mongo(mongo_server: MongoServer) -> AsyncIterator[Mongo]:
    connected = Mongo.connect(mongo_server.url)
    yield connected
    await connected.close()


def a_tenant(identifier: str, keep_days: int | None = None) -> Tenant:
    return Tenant(id=identifier, name=identifier, created_at=datetime.now(UTC), keep_days=keep_days)


async def left(mongo: Mongo, collection: str) -> dict[str, list[int]]:
    """By tenant, how many days old what is left is."""
    found: dict[str, list[int]] = {}
    for document in await mongo.find(collection, {}, limit=100_000):
        found.setdefault(document["tenant"], []).append(document["days"])
    return {tenant: sorted(days) for tenant, days in found.items()}


async def test_each_tenants_history_is_kept_as_its_policy_says(own_mongo: Mongo) -> None:
    clock = ManualClock()
    now_ms = int(clock.time() * 1000)
    ages = [1, 8, 29, 31, 89, 91, 366]
    for collection in KEEP:
        documents = [
            {"_id": f"{tenant}-{days}", "tenant": tenant, "days": days, "at_ms": now_ms - days * DAY_MS}
            for tenant in ("default", "short", "long", "deleted")
            for days in ages
        ]
        await own_mongo.insert_facts(collection, documents)
    tenants = [a_tenant("default"), a_tenant("short", 7), a_tenant("long", 90)]
    await delete_old_history(own_mongo, KEEP, tenants, clock)
    for collection in ("events", "attempts"):
        assert await left(own_mongo, collection) == {
            "default": [1, 8, 29],
            "short": [1],
            "long": [1, 8, 29, 31, 89],
            "deleted": [1, 8, 29, 31, 89],  # nobody's policy any more: as long as the longest, and no longer
        }
    kept = dict.fromkeys(("default", "short", "long", "deleted"), ages[:-1])
    assert await left(own_mongo, "changes") == kept, "who changed what is the operator's to keep"
    assert await delete_old_history(own_mongo, KEEP, tenants, clock) == 0


async def test_more_than_a_batch_goes_in_one_run(own_mongo: Mongo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 10)
    clock = ManualClock()
    old = int(clock.time() * 1000) - 8 * DAY_MS
    for tenant in ("a", "b"):
        documents = [{"_id": f"{tenant}{n}", "tenant": tenant, "days": 8, "at_ms": old} for n in range(35)]
        await own_mongo.insert_facts("events", documents)
    assert await delete_old_history(own_mongo, {"events": 30}, [a_tenant("a", 7), a_tenant("b")], clock) == 35
    assert await left(own_mongo, "events") == {"b": [8] * 35}
