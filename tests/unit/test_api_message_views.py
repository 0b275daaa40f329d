from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from kurir.api.messages.views import story_of, view_of
from kurir.contracts import ids
from kurir.contracts.content import Address, Image, Media, Text
from kurir.contracts.deliveries import DeliveryAttempt
from kurir.contracts.events import (
    AnyEvent,
    MediaFailed,
    MessageQueued,
    MessageSending,
    MessageStatusChanged,
    MessageUpserted,
)

BEGAN = datetime(2026, 11, 20, 12, tzinfo=UTC)
MESSAGE = ids.uuid7()
COMMON: dict[str, Any] = {"tenant": "t1", "device": "d1", "message_id": MESSAGE, "to": "628@s.whatsapp.net"}


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def queued(**fields: Any) -> MessageQueued:
    return MessageQueued(**{"id": "q", "at": at(0), "content": Text(text="hi"), **COMMON, **fields})


def status(word: str, seconds: float, **fields: Any) -> MessageStatusChanged:
    return MessageStatusChanged(**{"id": word, "at": at(seconds), "status": word, **COMMON, **fields})


def attempt(n: int, seconds: float, **fields: Any) -> DeliveryAttempt:
    values = {
        "id": f"a{n}",
        "delivery": "dl",
        "generation": 0,
        "attempt": n,
        "tenant": "t1",
        "device": "d1",
        "endpoint": "wh_1",
        "event_id": "sent",
        "event_type": "send.message.status",
        "message_id": MESSAGE,
        "at": at(seconds),
        "url": "https://x",
        "outcome": "retry",
        "milliseconds": 1.5,
        "status": 500,
        **fields,
    }
    return DeliveryAttempt(**values)


def test_the_furthest_status_counts_in_whatever_order_facts_arrived() -> None:
    facts: list[AnyEvent] = [queued(), status("read", 3), status("sent", 1, whatsapp_id="3EB0"), status("delivered", 2)]
    view = view_of(facts)
    assert view is not None
    assert (view.status, view.message_id, view.to, view.direction) == ("READ", "3EB0", "628@s.whatsapp.net", "outbound")
    assert view.timestamp == round(BEGAN.timestamp() * 1000)
    assert view.updated_at == at(3)
    assert view.error is None


def test_a_message_whose_queued_event_was_lost_is_told_from_the_rest() -> None:
    view = view_of([MessageSending(id="s", at=at(1), **COMMON)])
    assert view is not None
    assert (view.status, view.kind, view.content) == ("QUEUED", None, None)


def test_failures_carry_a_code_and_a_sentence() -> None:
    view = view_of([queued(), status("failed", 1, reason="not_on_whatsapp", detail="info query: 404")])
    assert view is not None
    assert view.status == "FAILED"
    assert view.error is not None
    assert view.error.code == "not_on_whatsapp"
    assert "no WhatsApp account" in view.error.message
    assert view.error.detail == "info query: 404"


def test_a_receipt_that_comes_after_unknown_says_that_it_was_sent() -> None:
    view = view_of([queued(), status("unknown", 1, reason="outcome_unknown"), status("delivered", 2)])
    assert view is not None
    assert (view.status, view.error) == ("DELIVERED", None)


def test_media_are_named_by_the_id_under_which_they_are_served() -> None:
    media = Media(object="t1/0190-abc", mimetype="image/png", size=3, sha256="00")
    view = view_of([queued(content=Image(media=media, caption="c"))])
    assert view is not None
    assert view.content is not None
    assert view.content["media"]["id"] == "0190-abc"
    assert "object" not in view.content["media"]


def test_a_received_message_says_who_wrote_it() -> None:
    fact = MessageUpserted(
        id="in1-received",
        tenant="t1",
        device="d1",
        at=at(1),
        message_id="in1",
        whatsapp_id="3A",
        chat=Address(jid="99@lid", pn="628@s.whatsapp.net", lid="99@lid"),
        sender=Address(jid="99@lid", pn="628@s.whatsapp.net", lid="99@lid"),
        content=Text(text="hi"),
        sent_at=at(0),
    )
    view = view_of([fact])
    assert view is not None
    assert (view.status, view.direction, view.from_) == ("RECEIVED", "inbound", "628@s.whatsapp.net")
    assert msgspec.to_builtins(view)["from"] == "628@s.whatsapp.net"


def test_a_story_is_in_order_and_has_each_webhook_attempt() -> None:
    facts: list[AnyEvent] = [
        queued(),
        MessageSending(id="s", at=at(1), **COMMON),
        status("sent", 2, whatsapp_id="3EB0"),
    ]
    story = story_of(MESSAGE, facts, [attempt(2, 5, outcome="delivered", status=200), attempt(1, 3)])
    assert story is not None
    assert [(fact.kind, fact.status, fact.attempt, fact.http_status) for fact in story.facts] == [
        ("send.message.queued", "queued", None, None),
        ("send.message.sending", "sending", 1, None),
        ("send.message.status", "sent", 1, None),
        ("delivery.attempt", None, 1, 500),
        ("delivery.attempt", None, 2, 200),
    ]
    assert story.status == "SENT"


def test_the_story_of_a_received_message_says_why_its_file_is_missing() -> None:
    sender = Address(jid="99@lid", pn="628@s.whatsapp.net", lid="99@lid")
    lost = Media(object="", mimetype="image/png", size=3, sha256="00", missing="media_expired")
    about = {name: COMMON[name] for name in ("tenant", "device", "message_id")}
    about |= {"at": at(0), "whatsapp_id": "3EB0", "chat": sender, "sender": sender}
    received = MessageUpserted(id="r", content=Image(media=lost), sent_at=at(0), **about)
    failed = MediaFailed(id="f", media=lost, reason="media_expired", **about)
    story = story_of(MESSAGE, [received, failed], [])
    assert story is not None
    assert [(fact.kind, fact.reason) for fact in story.facts] == [
        ("messages.upsert", None),
        ("messages.media.failed", "media_expired"),
    ]
    assert story.status == "RECEIVED"


def test_there_is_no_story_of_nothing() -> None:
    assert story_of(MESSAGE, [], []) is None
    assert view_of([]) is None
