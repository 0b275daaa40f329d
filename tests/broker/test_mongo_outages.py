"""The store while its server is away, dies, or stops answering: errors with a name, in bounded time, and no loss."""

import asyncio

import pytest

from kurir.runtime import mongo as mongo_module
from kurir.runtime.mongo import Driver, Index, Mongo, MongoUnavailable
from tests.support.conditions import until
from tests.support.mongo_server import MongoServer
from tests.support.server_process import free_port


async def answers(mongo: Mongo) -> bool:
    try:
        await mongo.ping()
    except MongoUnavailable:
        return False
    return True


async def test_a_service_gets_its_store_while_the_server_is_away(mongo_driver: Driver) -> None:
    port = free_port()
    mongo = Mongo.connect(f"mongodb://127.0.0.1:{port}/kurir", mongo_driver)
    try:
        attempts = [
            mongo.ping(),
            mongo.insert_facts("facts", [{"_id": "1"}]),
            mongo.find("facts", {}, limit=1),
            mongo.delete_older_than("facts", "at_ms", 1),
            mongo.ensure_indexes("facts", [Index([("tenant", 1)])]),
        ]
        outcomes = await asyncio.wait_for(asyncio.gather(*attempts, return_exceptions=True), 30)
        assert [type(outcome) for outcome in outcomes] == [MongoUnavailable] * 5
        assert all(len(str(outcome)) <= 300 for outcome in outcomes)
        server = MongoServer(port)
        await server.start()
        try:
            await until("the same handle works once the server is there", lambda: answers(mongo))
        finally:
            await server.stop()
    finally:
        await mongo.close()


async def test_facts_written_again_after_a_kill_are_there_exactly_once(
    mongo_server: MongoServer, mongo_driver: Driver
) -> None:
    mongo = Mongo.connect(mongo_server.url, mongo_driver)
    try:
        batches = [[{"_id": f"{b}-{n}"} for n in range(50)] for b in range(20)]
        confirmed: set[int] = set()

        async def write(number: int) -> None:
            while number not in confirmed:
                try:
                    await mongo.insert_facts("facts", batches[number])
                    confirmed.add(number)
                except MongoUnavailable:
                    await asyncio.sleep(0.05)

        writing = [asyncio.create_task(write(number)) for number in range(20)]
        await until("some batches are written", lambda: len(confirmed) >= 3)
        await mongo_server.kill()  # what is confirmed by now is not written again, and must be found
        await mongo_server.start()
        await asyncio.wait_for(asyncio.gather(*writing), 60)
        found = await mongo.find("facts", {}, limit=2000)
        assert sorted(fact["_id"] for fact in found) == sorted(f["_id"] for b in batches for f in b)
    finally:
        await mongo.close()


async def test_a_server_that_no_longer_answers_is_given_up_on(
    mongo_server: MongoServer, mongo_driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_module, "ANSWER_TIMEOUT_S", 2.0)
    mongo = Mongo.connect(mongo_server.url, mongo_driver)
    try:
        await mongo.ping()
        await mongo_server.freeze()
        with pytest.raises(MongoUnavailable):
            await asyncio.wait_for(mongo.insert_facts("facts", [{"_id": "1"}]), 20)
    finally:
        await mongo.close()
