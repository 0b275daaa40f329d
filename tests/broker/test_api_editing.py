"""Editing and deleting messages: ordinary commands that point at the message as WhatsApp names it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kurir.contracts import ids
from kurir.contracts.commands import SendMessage
from kurir.contracts.content import Address, Content, Edit, Location, MessageKey, PollVote, Revoke, Text
from kurir.contracts.events import AnyEvent, MessageQueued, MessageStatusChanged, MessageUpserted
from kurir.runtime.mongo import Mongo
from tests.support.api_server import Api, Client, fact_of, running_api
from tests.support.conditions import until
from tests.support.connected_devices import running_gateway
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer

TO = "6281234567890@s.whatsapp.net"
GROUP = "120363041234567890@g.us"
OURS = MessageKey(chat=TO, whatsapp_id="3EB0A1", from_me=True)


@pytest.fixture
async def api(nats_server: NatsServer, mongo_server: MongoServer) -> AsyncIterator[Api]:
    async with running_api(nats_server.url, mongo_server.url) as running:
        yield running


@pytest.fixture
async def own_mongo(mongo_server: MongoServer) -> AsyncIterator[Mongo]:
    connected = Mongo.connect(mongo_server.url)
    yield connected
    await connected.close()


class Past:
    """Writes into the history what happened to messages of one device."""

    def __init__(self, mongo: Mongo, tenant: Client, device: str) -> None:
        self._mongo, self._tenant, self._device = mongo, tenant, device

    async def sent(
        self,
        *statuses: str,
        age: timedelta = timedelta(),
        content: Content | None = None,
        whatsapp_id: str | None = "3EB0A1",
    ) -> str:
        """A message of ours with these statuses after `queued`; its id."""
        message, at = ids.uuid7(), datetime.now(UTC) - age
        common: dict[str, Any] = {
            "tenant": self._tenant.id,
            "device": self._device,
            "at": at,
            "message_id": message,
            "to": TO,
        }
        facts: list[AnyEvent] = [MessageQueued(id=f"{message}-queued", content=content or Text(text="hi"), **common)]
        for status in statuses:
            named = whatsapp_id if status in ("sent", "delivered", "read") else None
            facts.append(MessageStatusChanged(id=f"{message}-{status}", status=status, whatsapp_id=named, **common))  # type: ignore[arg-type]
        await self._mongo.insert_facts("events", [fact_of(n, fact) for n, fact in enumerate(facts)])
        return message

    async def ages(self, message: str, age: timedelta) -> None:
        """WhatsApp had the message so long ago already."""
        fact = MessageStatusChanged(
            id=f"{message}-sent-before",
            tenant=self._tenant.id,
            device=self._device,
            at=datetime.now(UTC) - age,
            message_id=message,
            to=TO,
            status="sent",
            whatsapp_id="3EB0A1",
        )
        await self._mongo.insert_facts("events", [fact_of(100, fact)])

    async def received(self, chat: str, sender: str, *, from_me: bool = False, content: Content | None = None) -> str:
        message, at = ids.inbound_message_id(self._device, chat, sender, "3A01"), datetime.now(UTC)
        fact = MessageUpserted(
            id=message,
            tenant=self._tenant.id,
            device=self._device,
            at=at,
            message_id=message,
            whatsapp_id="3A01",
            chat=Address(jid=chat),
            sender=Address(jid=sender),
            content=content or Text(text="hi"),
            sent_at=at,
            from_me=from_me,
            is_group=chat.endswith("@g.us"),
        )
        await self._mongo.insert_facts("events", [fact_of(1, fact)])
        return message


@pytest.fixture
async def past(api: Api, own_mongo: Mongo, tenant: Client) -> Past:
    return Past(own_mongo, tenant, await tenant.device())


async def command_of(api: Api) -> SendMessage:
    (command,) = await api.commands()
    assert isinstance(command, SendMessage)
    return command


async def test_an_edit_is_a_command_that_points_at_the_message(api: Api, tenant: Client, past: Past) -> None:
    message = await past.sent("sent", "read", age=timedelta(minutes=5))
    answer = await tenant.patch(f"/messages/{message}", json={"text": "better"})
    assert (answer.status_code, answer.json()["status"]) == (200, "QUEUED")
    assert "X-RateLimit-Remaining" in answer.headers
    command = await command_of(api)
    assert command.id == answer.json()["id"] != message
    assert (command.to, command.content) == (TO, Edit(target=OURS, text="better"))
    assert command.expires_at is not None  # an edit that comes later than WhatsApp allows would be dropped silently
    assert timedelta(minutes=9) < command.expires_at - datetime.now(UTC) < timedelta(minutes=10)


async def test_a_deletion_is_a_command_that_points_at_the_message(api: Api, tenant: Client, past: Past) -> None:
    message = await past.sent("sent", age=timedelta(hours=20), content=Location(latitude=1, longitude=2))
    answer = await tenant.post(f"/messages/{message}/revoke")
    assert answer.status_code == 200
    assert (await command_of(api)).content == Revoke(target=OURS)


async def test_a_repeat_under_the_same_key_edits_once(api: Api, tenant: Client, past: Past) -> None:
    message = await past.sent("sent")
    key = {"Idempotency-Key": "correction-1"}
    first, again = [await tenant.patch(f"/messages/{message}", json={"text": "x"}, headers=key) for _ in range(2)]
    assert first.json()["id"] == again.json()["id"]
    other = await tenant.patch(f"/messages/{message}", json={"text": "y"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert await command_of(api)


async def test_a_repeat_of_an_edit_is_answered_as_the_first_time_also_when_the_message_is_too_old_by_then(
    api: Api, tenant: Client, past: Past
) -> None:
    message = await past.sent("sent", age=timedelta(minutes=5))
    path, body = f"/messages/{message}", {"text": "better"}
    first = await tenant.patch(path, json=body, headers={"Idempotency-Key": "correction-1"})
    await past.ages(message, timedelta(minutes=16))
    again = await tenant.patch(path, json=body, headers={"Idempotency-Key": "correction-1"})
    assert (again.status_code, again.json()) == (200, first.json())
    late = await tenant.patch(path, json=body, headers={"Idempotency-Key": "correction-2"})
    assert (late.status_code, late.json()["code"]) == (409, "MESSAGE_TOO_OLD")
    assert (await command_of(api)).id == first.json()["id"]


@pytest.mark.parametrize(
    ("statuses", "age_min", "content", "code"),
    [
        ((), 0, None, "MESSAGE_NOT_SENT"),
        (("retrying",), 0, None, "MESSAGE_NOT_SENT"),
        (("failed",), 0, None, "MESSAGE_NOT_CHANGEABLE"),
        (("unknown",), 0, None, "MESSAGE_NOT_CHANGEABLE"),
        (("sent",), 16, None, "MESSAGE_TOO_OLD"),
        (("sent",), 0, Location(latitude=1, longitude=2), "MESSAGE_NOT_CHANGEABLE"),
    ],
)
async def test_what_cannot_be_edited_says_why(
    api: Api, tenant: Client, past: Past, statuses: tuple[str, ...], age_min: int, content: Content | None, code: str
) -> None:
    message = await past.sent(*statuses, age=timedelta(minutes=age_min), content=content)
    answer = await tenant.patch(f"/messages/{message}", json={"text": "better"})
    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert await api.commands() == []


async def test_others_messages_are_deleted_in_groups_alone_and_never_edited(
    api: Api, tenant: Client, past: Past
) -> None:
    in_chat = await past.received(TO, TO)
    in_group = await past.received(GROUP, "101@lid")
    for answer in (
        await tenant.post(f"/messages/{in_chat}/revoke"),
        await tenant.patch(f"/messages/{in_chat}", json={"text": "x"}),
        await tenant.patch(f"/messages/{in_group}", json={"text": "x"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "MESSAGE_NOT_CHANGEABLE")
    assert (await tenant.post(f"/messages/{in_group}/revoke")).status_code == 200
    target = MessageKey(chat=GROUP, whatsapp_id="3A01", participant="101@lid")
    assert (await command_of(api)).content == Revoke(target=target)


async def test_a_vote_is_not_deleted(api: Api, tenant: Client, past: Past) -> None:
    vote = PollVote(target=MessageKey(chat=GROUP, whatsapp_id="3EB0", from_me=True), hashes=("ca97",))
    for sender, from_me in (("101@lid", False), ("628999@s.whatsapp.net", True)):
        message = await past.received(GROUP, sender, from_me=from_me, content=vote)
        answer = await tenant.post(f"/messages/{message}/revoke")
        assert (answer.status_code, answer.json()["code"]) == (409, "MESSAGE_NOT_CHANGEABLE")
    assert await api.commands() == []


async def test_what_was_written_on_the_phone_can_be_edited(api: Api, tenant: Client, past: Past) -> None:
    message = await past.received(TO, "628999@s.whatsapp.net", from_me=True)
    assert (await tenant.patch(f"/messages/{message}", json={"text": "x"})).status_code == 200
    assert (await command_of(api)).content == Edit(
        target=MessageKey(chat=TO, whatsapp_id="3A01", from_me=True), text="x"
    )


async def test_unknown_messages_and_bad_texts_are_refused(tenant: Client, past: Past) -> None:
    for answer in (
        await tenant.patch("/messages/nothing", json={"text": "x"}),
        await tenant.post("/messages/nothing/revoke"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "MESSAGE_NOT_FOUND")
    bad = await tenant.patch(f"/messages/{await past.sent('sent')}", json={"text": ""})
    assert (bad.status_code, bad.json()["field"]) == (400, "text")


async def test_an_edit_is_followed_like_any_message(
    nats_server: NatsServer, mongo_server: MongoServer, own_mongo: Mongo
) -> None:
    async with running_gateway(nats_server.url, mongo_server.url) as gateway:
        tenant = await gateway.api.tenant()
        device = await gateway.connected(tenant)

        async def is_sent(message: str) -> bool:
            await gateway.api.write_history(own_mongo)
            return (await tenant.get(f"/messages/{message}")).json()["status"] in ("SENT", "DELIVERED", "READ")

        message = (await tenant.send(device)).json()["id"]
        await until("the message is sent", lambda: is_sent(message))
        edit = (await tenant.patch(f"/messages/{message}", json={"text": "better"})).json()["id"]
        await until("the edit is sent", lambda: is_sent(edit))
        shown = (await tenant.get(f"/messages/{edit}")).json()
        assert (shown["kind"], shown["content"]["text"]) == ("edit", "better")
        named = (await tenant.get(f"/messages/{message}")).json()["messageId"]
        assert shown["content"]["target"]["whatsappId"] == named
        edited = await tenant.patch(f"/messages/{edit}", json={"text": "best"})
        assert edited.json()["code"] == "MESSAGE_NOT_CHANGEABLE"
        revoked = (await tenant.post(f"/messages/{message}/revoke")).json()["id"]
        await until("the deletion is sent", lambda: is_sent(revoked))
