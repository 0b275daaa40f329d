"""What callers say about chats."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from kurir.contracts.people import Label, TypingState


class ShowPresence(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """While it is offline, WhatsApp tells the device nothing of who is online or typing."""

    presence: Literal["online", "offline"]


class ShowTyping(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`paused` ends it; WhatsApp ends it by itself after some 25 seconds."""

    state: TypingState = "typing"


class Archive(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    archived: bool


class LabelView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a business account sorts its chats by. `color` is WhatsApp's number for it; `chats` are ids."""

    id: str
    name: str
    color: int
    chats: list[str]


class ReadMessages(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`messageIds` are WhatsApp's (`3A…`). In a group `participant` is their sender. `played` is for voice notes."""

    message_ids: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=128)], ...], Meta(min_length=1, max_length=100)
    ]
    participant: Annotated[str, Meta(max_length=64)] | None = None
    played: bool = False


def label_view_of(label: Label) -> LabelView:
    return LabelView(id=label.id, name=label.name, color=label.color, chats=list(label.chats))
