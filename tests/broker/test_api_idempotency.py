"""The same Idempotency-Key and body is the same message, whatever happens in between."""

import asyncio

import msgspec

from kurir.api.idempotency import IdempotencyKeys
from kurir.contracts.records import Idempotent
from kurir.runtime.clock import SystemClock
from tests.support.api_server import Api, Client

KEY = {"Idempotency-Key": "order-17"}


async def test_a_repeat_gets_the_first_answer_and_sends_nothing(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    first = await tenant.send(device, headers=KEY)
    again = await tenant.send(device, headers=KEY)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert len(await api.commands()) == 1
    assert len(await api.events()) == 1


async def test_many_at_once_are_one_message(api: Api, tenant: Client) -> None:
    device = await tenant.device(ratePerMinute=1000)
    answers = await asyncio.gather(*(tenant.send(device, headers=KEY) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(await api.commands()) == 1


async def test_another_body_under_the_same_key_is_a_conflict(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    await tenant.send(device, headers=KEY)
    other = await tenant.send(device, headers=KEY, text="something else")
    assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    place = {"deviceId": device, "to": "6281234567890", "latitude": 1.0, "longitude": 1.0}
    kind = await tenant.post("/messages/send-location", json=place, headers=KEY)
    assert kind.status_code == 409
    assert len(await api.commands()) == 1


async def test_a_request_that_died_before_its_command_was_stored_is_completed_by_its_repeat(
    api: Api, tenant: Client
) -> None:
    device = await tenant.device()
    first = await tenant.send(device, headers=KEY)
    # The process died after the key was remembered: take the command and the note of it away again.
    await api.bus.js.purge_stream("COMMANDS")
    (subject,) = await api.bus.subjects("KV_idempotency", "$KV.idempotency.>")
    stored = await api.bus.last_by_subject("KV_idempotency", subject)
    assert stored is not None
    record = msgspec.json.decode(stored.data, type=Idempotent)
    assert record.accepted
    forgotten = msgspec.json.encode(msgspec.structs.replace(record, accepted=False))
    await api.bus.publish(subject, forgotten)
    again = await tenant.send(device, headers=KEY)
    assert again.json() == first.json()


async def test_keys_of_two_tenants_do_not_meet(api: Api, tenant: Client) -> None:
    other = await api.tenant()
    mine = await tenant.send(await tenant.device(), headers=KEY)
    theirs = await other.send(await other.device(), headers=KEY)
    assert mine.json()["id"] != theirs.json()["id"]


async def test_two_replicas_agree_on_the_message(api: Api) -> None:
    one, two = IdempotencyKeys(api.bus, SystemClock()), IdempotencyKeys(api.bus, SystemClock())
    remembered = await asyncio.gather(one.remember("t", "k", "d"), two.remember("t", "k", "d"))
    assert len({each.record.message_id for each in remembered}) == 1


async def test_a_key_that_is_too_long_is_refused(tenant: Client) -> None:
    answer = await tenant.send(await tenant.device(), headers={"Idempotency-Key": "x" * 256})
    assert (answer.status_code, answer.json()["field"]) == (400, "Idempotency-Key")
