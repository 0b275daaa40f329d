"""What the sandbox's contacts do with a message: the receipts and the reply that it leads to, and when.

No I/O: everything is made at once when a message is sent, with the moments at which it will happen.
"""

import hashlib
import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from kurir.contracts.content import (
    STATUS,
    Address,
    Content,
    List,
    ListReply,
    Media,
    MessageKey,
    Poll,
    PollVote,
    Quote,
    Text,
    media_of,
)
from kurir.session_node.engines.engine import Outgoing, ReceiptSeen, Received, SendOrder, Sent
from kurir.session_node.engines.requests import KnownContact, NumberCheck, Picture
from kurir.session_node.engines.sandbox import scenario as scenarios
from kurir.session_node.engines.sandbox.scenario import Scenario
from kurir.session_node.engines.sandbox.store import Mail

GROUP_MEMBERS = tuple(Address(jid=f"62899000000{n}@s.whatsapp.net") for n in (1, 2, 3))
"""Who reads along in every group, and the status updates."""


class Pace(Struct, frozen=True, kw_only=True):
    """How long things take, in seconds; a pair is a range to draw from. QR times are those of WhatsApp."""

    login_s: float = 0.05
    ack_s: tuple[float, float] = (0.03, 0.08)
    delivered_s: tuple[float, float] = (0.03, 0.15)
    read_s: tuple[float, float] = (0.05, 0.15)
    reply_s: tuple[float, float] = (0.05, 0.15)
    slow_s: float = 5.0
    timeout_s: float = 5.0
    reconnect_s: float = 1.0
    ban_s: float = 60.0
    qr_first_s: float = 60.0
    qr_next_s: float = 20.0
    qr_codes: int = 6
    upload_timeout_s: float = 60.0
    tick_s: float = 0.01


def consequences(key: tuple[str, str], order: SendOrder, scenario: Scenario, sent: Sent, pace: Pace) -> Mail | None:
    """What a message that was sent leads to for the device `key` (tenant, device); None when to nothing."""
    chat = sent.chat
    readers = _readers(order, chat)
    at = sent.sent_at
    seen = []
    for reader in readers:
        at = sent.sent_at
        for kind in scenarios.receipts(scenario, order.content):
            at += timedelta(seconds=random.uniform(*(pace.delivered_s if kind == "delivered" else pace.read_s)))
            seen.append(ReceiptSeen(whatsapp_ids=(sent.whatsapp_id,), status=kind, chat=chat, sender=reader, at=at))
    text = scenarios.reply(scenario, order.content) if order.to != STATUS else None
    if text is None and not seen:
        return None
    at += timedelta(seconds=random.uniform(*pace.reply_s))
    reply = None if text is None else _reply(order, sent, readers[0], text, at)
    return Mail(tenant=key[0], device=key[1], receipts=tuple(seen), reply=reply)


def _readers(order: SendOrder, chat: Address) -> tuple[Address, ...]:
    if order.to == STATUS and order.audience:
        return tuple(address(jid) for jid in order.audience)
    return GROUP_MEMBERS if order.to.endswith(("@g.us", STATUS)) else (chat,)


class EchoedMedia:
    """The attachment of a reply that sends the media of an order back."""

    def __init__(self, sent: Outgoing) -> None:
        self._sent = sent
        self.mimetype = sent.media.mimetype
        self.size: int | None = sent.media.size
        self.file_name = sent.media.file_name

    def chunks(self) -> AsyncIterator[bytes]:
        return self._sent.chunks()


def _reply(order: SendOrder, sent: Sent, sender: Address, text: str, at: datetime) -> Received:
    """What the contact answers: media comes back as media, of a poll or list the first is chosen, else it is text.

    It quotes the order, but for votes.
    """
    content: Content = Text(text=text)
    ours = MessageKey(chat=sent.chat.jid, whatsapp_id=sent.whatsapp_id, from_me=True)
    if isinstance(order.content, Poll):
        first = order.content.options[0]
        content = PollVote(target=ours, hashes=(hashlib.sha256(first.encode()).hexdigest(),))
    if isinstance(order.content, List):
        chosen = order.content.sections[0].rows[0]
        content = ListReply(row_id=chosen.id, title=chosen.title, description=chosen.description)
    attachment = None
    if order.media is not None and media_of(order.content) is not None and hasattr(order.content, "caption"):
        attachment = EchoedMedia(order.media)
        empty = Media(
            object="",
            mimetype=attachment.mimetype,
            size=order.media.media.size,
            sha256="",
            file_name=attachment.file_name,
        )
        content = msgspec.structs.replace(order.content, media=empty, caption=text)
    said = order.content.text if isinstance(order.content, Text) else None
    return Received(
        whatsapp_id=whatsapp_id(),
        chat=sent.chat,
        sender=sender,
        content=content,
        sent_at=at,
        is_group=order.to.endswith("@g.us"),
        push_name=f"Contact {sender.jid.partition('@')[0][-4:]}",
        quote=Quote(key=ours, text=said) if not isinstance(content, PollVote) else None,
        attachment=attachment,
    )


def whatsapp_id() -> str:
    return f"3EB0{random.getrandbits(64):016X}"


def address(jid: str) -> Address:
    """A contact's address in every form; of a hidden id only itself is known."""
    user, _, server = jid.partition("@")
    phone = user.partition(":")[0]
    if server != "s.whatsapp.net":
        return Address(jid=jid, lid=jid if server == "lid" else None)
    return Address(jid=jid, pn=f"{phone}@{server}", lid=lid_of(phone))


def check(phone: str) -> NumberCheck:
    """Whether a number has WhatsApp here."""
    jid = f"{phone}@s.whatsapp.net"
    if scenarios.scenario_of(jid).fails == "not_on_whatsapp":
        return NumberCheck(phone=phone, is_on_whatsapp=False)
    return NumberCheck(phone=phone, is_on_whatsapp=True, address=address(jid))


def picture(jid: str, set_to: str | None = None) -> Picture | None:
    """Everybody has one, but whose phone is off; `set_to` is the id of another one that was set, "" when none is."""
    if set_to == "":
        return None
    if set_to is not None:
        return Picture(id=set_to, url=f"https://sandbox.invalid/pictures/{set_to}.jpg")
    if not scenarios.scenario_of(jid).receipts and not scenarios.scenario_of(jid).fails:
        return None
    name = jid.partition("@")[0].partition(":")[0]
    return Picture(id=name[-10:], url=f"https://sandbox.invalid/pictures/{name}.jpg")


def picture_id(picture: bytes) -> str:
    return hashlib.sha256(picture).hexdigest()[:16]


def lid_of(phone: str) -> str:
    return f"{10**14 + int(phone) % 10**13}@lid"


def made_up_phone(key: tuple[str, str]) -> str:
    """A number for a device that was scanned without saying which, always the same one."""
    number = int.from_bytes(hashlib.sha256("/".join(key).encode()).digest()[:4], "big") % 10**8
    return f"62899{number:08d}"


ADDRESS_BOOK = tuple(
    KnownContact(address=address(f"6281255501{digits}@s.whatsapp.net"), name=scenario.name, push_name=scenario.name)
    for digits, scenario in scenarios.SCENARIOS.items()
    if scenario.fails != "not_on_whatsapp"
)
"""Of every device: somebody for each scenario, called by its name."""
