"""The store keeps facts: the same behaviour over both drivers, on every server at hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kurir.runtime.mongo import FactsRefused, Index, Mongo, MongoRefused

NOON = datetime(2026, 11, 20, 12, 0, 0, 123000, tzinfo=UTC)
INDEXES = [Index([("message_id", 1)]), Index([("tenant", 1), ("at_ms", -1)]), Index([("at_ms", 1)])]


def a_fact(number: int = 0, **fields: Any) -> dict[str, Any]:
    at = NOON + timedelta(seconds=number)
    fact = {"_id": f"event-{number:04d}", "tenant": "acme", "message_id": "m-1", "at": at}
    return {**fact, "at_ms": int(at.timestamp() * 1000), "seq": number, "body": "{}", **fields}


async def test_a_fact_comes_back_as_it_was_written(mongo: Mongo, collection: str) -> None:
    fact = a_fact(body='{"text":"Halo 👋"}', final=True, error=None, codes=[1, "2"], size=2**53, share=0.5)
    assert await mongo.insert_facts(collection, [fact]) == 1
    assert await mongo.find_one(collection, {"_id": "event-0000"}) == fact


async def test_times_come_back_aware_and_in_utc(mongo: Mongo, collection: str) -> None:
    jakarta = NOON.astimezone(datetime.strptime("+0700", "%z").tzinfo)
    await mongo.insert_facts(collection, [a_fact(at=jakarta)])
    found = await mongo.find_one(collection, {"message_id": "m-1"})
    assert found is not None
    assert found["at"] == NOON
    assert found["at"].tzinfo is UTC


async def test_writing_facts_again_changes_nothing_and_counts_only_new_ones(mongo: Mongo, collection: str) -> None:
    assert await mongo.insert_facts(collection, [a_fact(n) for n in range(300)]) == 300
    overlapping = [a_fact(n, body="changed") for n in range(200, 500)]
    assert await mongo.insert_facts(collection, overlapping) == 200
    assert await mongo.insert_facts(collection, overlapping) == 0
    found = await mongo.find(collection, {"tenant": "acme"}, sort=[("seq", 1)], limit=1000)
    assert [fact["seq"] for fact in found] == list(range(500))
    assert found[250]["body"] == "{}"


async def test_a_fact_that_is_twice_in_one_batch_is_written_once(mongo: Mongo, collection: str) -> None:
    assert await mongo.insert_facts(collection, [a_fact(1), a_fact(1), a_fact(2)]) == 2


async def test_the_documents_given_are_not_altered(mongo: Mongo, collection: str) -> None:
    fact = a_fact()
    await mongo.insert_facts(collection, [fact, a_fact(1)])
    assert fact == a_fact()


async def test_writing_nothing_is_no_error(mongo: Mongo, collection: str) -> None:
    assert await mongo.insert_facts(collection, []) == 0


async def test_a_fact_without_a_key_of_its_own_is_a_programming_error(mongo: Mongo, collection: str) -> None:
    with pytest.raises(ValueError, match="_id"):
        await mongo.insert_facts(collection, [{"tenant": "acme"}])


@pytest.mark.parametrize(
    "unfit",
    [
        pytest.param({"size": 2**63}, id="a number beyond 64 bits"),
        pytest.param({"body": "\ud800"}, id="text that is not UTF-8"),
        pytest.param({"body": object()}, id="something that is no value"),
    ],
)
async def test_an_unfit_fact_is_named_and_does_not_hold_up_the_others(
    mongo: Mongo, collection: str, unfit: dict[str, Any]
) -> None:
    await mongo.insert_facts(collection, [a_fact(0)])
    with pytest.raises(FactsRefused) as refused:
        await mongo.insert_facts(collection, [a_fact(0), a_fact(1, **unfit), a_fact(2)])
    assert [fact.id for fact in refused.value.refused] == ["event-0001"]
    assert refused.value.written == 1
    assert await mongo.find_one(collection, {"_id": "event-0002"}) is not None


async def test_another_unique_key_makes_a_repeat_harmless_too(mongo: Mongo, collection: str) -> None:
    await mongo.ensure_indexes(collection, [Index([("tenant", 1), ("seq", 1)], unique=True)])
    assert await mongo.insert_facts(collection, [a_fact(1)]) == 1
    assert await mongo.insert_facts(collection, [a_fact(1, _id="another"), a_fact(2)]) == 1


async def test_making_the_indexes_again_is_harmless(mongo: Mongo, collection: str) -> None:
    await mongo.ensure_indexes(collection, INDEXES)
    await mongo.insert_facts(collection, [a_fact()])
    await mongo.ensure_indexes(collection, INDEXES)
    assert await mongo.find_one(collection, {"tenant": "acme"}) is not None


async def test_a_page_is_filtered_sorted_cut_and_projected(mongo: Mongo, collection: str) -> None:
    await mongo.ensure_indexes(collection, INDEXES)
    await mongo.insert_facts(collection, [a_fact(n, tenant="acme" if n % 2 else "other") for n in range(20)])
    before = a_fact(15)["at_ms"]
    page = await mongo.find(
        collection,
        {"tenant": "acme", "at_ms": {"$lt": before}},
        sort=[("at_ms", -1)],
        limit=3,
        projection=["seq"],
    )
    assert page == [{"_id": f"event-{n:04d}", "seq": n} for n in (13, 11, 9)]


async def test_a_page_may_be_longer_than_one_batch_of_the_wire(mongo: Mongo, collection: str) -> None:
    await mongo.insert_facts(collection, [a_fact(n) for n in range(450)])
    found = await mongo.find(collection, {"tenant": "acme"}, sort=[("seq", 1)], limit=400)
    assert [fact["seq"] for fact in found] == list(range(400))


async def test_what_is_not_there_is_none(mongo: Mongo, collection: str) -> None:
    assert await mongo.find_one(collection, {"_id": "never written"}) is None


async def test_a_page_without_a_limit_is_a_programming_error(mongo: Mongo, collection: str) -> None:
    with pytest.raises(ValueError, match="limit"):
        await mongo.find(collection, {}, limit=0)


@pytest.mark.parametrize("field", ["at_ms", "at", "_id"])
async def test_old_facts_go_in_batches_and_the_oldest_first(mongo: Mongo, collection: str, field: str) -> None:
    await mongo.ensure_indexes(collection, INDEXES)
    await mongo.insert_facts(collection, [a_fact(n) for n in range(25)])
    before = a_fact(15)[field]
    deleted = [await mongo.delete_older_than(collection, field, before, batch=10) for _ in range(3)]
    assert deleted == [10, 5, 0]
    left = await mongo.find(collection, {"tenant": "acme"}, sort=[("seq", 1)], limit=100)
    assert [fact["seq"] for fact in left] == list(range(15, 25))


async def test_what_the_server_will_not_do_is_told_apart_from_its_absence(mongo: Mongo, collection: str) -> None:
    await mongo.insert_facts(collection, [a_fact(1), a_fact(2)])
    with pytest.raises(MongoRefused):
        await mongo.ensure_indexes(collection, [Index([("tenant", 1)], unique=True)])
