"""Whether a message can be edited or deleted for everyone now, and how WhatsApp names it. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from kurir.api.messages.views import AboutSending, status_of
from kurir.api.problems import Problem
from kurir.contracts.content import STATUS, Content, Edit, MessageKey, PollVote, Reaction, Revoke, Text
from kurir.contracts.events import AnyEvent, MessageQueued, MessageStatusChanged, MessageUpserted
from kurir.contracts.states import MessageStatus

EDIT_WINDOW = timedelta(minutes=15)
"""How long WhatsApp's apps take an edit, from when the server took the message (WhatsApp's help pages)."""

_ON_THE_WAY: frozenset[MessageStatus] = frozenset({"scheduled", "queued", "sending", "retrying"})


class Target(NamedTuple):
    """A message that WhatsApp has. `content` is None when only its statuses are known."""

    device: str
    key: MessageKey
    sent_at: datetime
    content: Content | None


def is_settled(facts: Sequence[AnyEvent]) -> bool:
    """Whether these facts say how WhatsApp names the message, or that it never will."""
    sending = [fact for fact in facts if isinstance(fact, AboutSending)]
    return bool(facts) and (not sending or status_of(sending) not in _ON_THE_WAY)


def to_edit(facts: Sequence[AnyEvent]) -> Target:
    """What an edit is about, until EDIT_WINDOW is over. Raises Problem: MESSAGE_NOT_FOUND, _NOT_SENT or
    _NOT_CHANGEABLE.
    """
    target = _target(facts)
    if not target.key.from_me:
        raise Problem("MESSAGE_NOT_CHANGEABLE", "Only your own messages can be edited.")
    if target.content is not None and not isinstance(target.content, Text):
        raise Problem("MESSAGE_NOT_CHANGEABLE", "Only texts can be edited.")
    if target.key.chat == STATUS:
        raise Problem("MESSAGE_NOT_CHANGEABLE", "A status can only be deleted.")
    return target


def to_revoke(facts: Sequence[AnyEvent]) -> Target:
    """What a deletion is about. Raises Problem: MESSAGE_NOT_FOUND, _NOT_SENT or _NOT_CHANGEABLE."""
    target = _target(facts)
    if not target.key.from_me and target.key.participant is None:
        raise Problem("MESSAGE_NOT_CHANGEABLE", "Only your own messages can be deleted, and in your groups others'.")
    if isinstance(target.content, PollVote):
        raise Problem("MESSAGE_NOT_CHANGEABLE", "A vote cannot be deleted; who votes again changes it.")
    if isinstance(target.content, Reaction | Edit | Revoke):
        raise Problem("MESSAGE_NOT_CHANGEABLE", "Only messages can be deleted; take a reaction back by an empty one.")
    return target


def _target(facts: Sequence[AnyEvent]) -> Target:
    sending = [fact for fact in facts if isinstance(fact, AboutSending)]
    if sending:
        return _sent(sending)
    received = next((fact for fact in facts if isinstance(fact, MessageUpserted)), None)
    if received is None:
        raise Problem("MESSAGE_NOT_FOUND")
    is_others = received.is_group and not received.from_me
    key = MessageKey(
        chat=received.chat.jid,
        whatsapp_id=received.whatsapp_id,
        from_me=received.from_me,
        participant=received.sender.jid if is_others else None,
    )
    return Target(received.device, key, received.sent_at, received.content)


def _sent(facts: Sequence[AboutSending]) -> Target:
    status = status_of(facts)
    if status == "scheduled":
        raise Problem("MESSAGE_NOT_SENT", "This message waits for its time; cancel it instead.")
    if status in _ON_THE_WAY:
        raise Problem("MESSAGE_NOT_SENT")
    named = min(
        (fact for fact in facts if isinstance(fact, MessageStatusChanged) and fact.whatsapp_id),
        key=lambda fact: fact.at,
        default=None,
    )
    if named is None or named.whatsapp_id is None:
        why = "It is not known whether it was sent." if status == "unknown" else "It was never sent."
        raise Problem("MESSAGE_NOT_CHANGEABLE", f"This message cannot be changed. {why}")
    queued = next((fact for fact in facts if isinstance(fact, MessageQueued)), None)
    key = MessageKey(chat=named.to, whatsapp_id=named.whatsapp_id, from_me=True)
    return Target(named.device, key, named.at, queued.content if queued is not None else None)
