"""How the sandbox's contacts behave, told by the recipient's number: a table that anyone can read and extend.

A number that ends in 55501 and two more digits plays the scenario of those digits (555-01xx is reserved for fiction,
and the rule holds for any country: 62812 555 0104, 1202 555 0104). Every other number is a friendly contact.
Pure: nothing here waits, sends or remembers. docs/tenants/sandbox.md carries the same table for tenants.
"""

import re
from typing import Literal

from msgspec import Struct

from kurir.contracts.content import STATUS, Audio, Content, Text, media_of
from kurir.contracts.states import Reason

ReceiptKind = Literal["delivered", "read", "played"]
Mishap = Literal["connection_lost", "logged_out", "banned", "replaced", "outdated"]
Happening = Literal["presence", "call", "lost_file", "picture", "group", "removed"]


class Scenario(Struct, frozen=True, kw_only=True):
    """What becomes of one message.

    `fails` refuses it (only `times` times for one message when set, only messages with media when `media_only`);
    `unknown` never answers; `slow` answers late; `receipts` follow a sent message in this order; `mishap` befalls the
    device right after; `reply` is the text that the contact answers, `{text}` being what was written; `happens` is what
    the contact or the group does of itself afterwards. `passkey` is about a device of that number: it cannot be paired.
    """

    name: str
    summary: str
    fails: Reason | None = None
    times: int | None = None
    retry_after_s: float | None = None
    media_only: bool = False
    unknown: bool = False
    slow: bool = False
    receipts: tuple[ReceiptKind, ...] = ("delivered", "read")
    mishap: Mishap | None = None
    reply: str | None = None
    happens: Happening | None = None
    passkey: bool = False


FRIENDLY = Scenario(name="friendly", summary="Sent, delivered and read; an audio message is also played.")

SCENARIOS: dict[str, Scenario] = {
    "00": FRIENDLY,
    "01": Scenario(name="not_on_whatsapp", summary="Fails: the number has no WhatsApp.", fails="not_on_whatsapp"),
    "02": Scenario(name="refused", summary="Fails: the engine refuses the message.", fails="engine_error"),
    "03": Scenario(name="slow", summary="Sent only after 5 seconds, then delivered and read.", slow=True),
    "04": Scenario(
        name="timeout",
        summary="No answer within 5 seconds: the outcome is unknown, and no receipt ever comes.",
        unknown=True,
    ),
    "05": Scenario(name="phone_off", summary="Sent, and never delivered.", receipts=()),
    "06": Scenario(name="no_blue_ticks", summary="Sent and delivered, never read.", receipts=("delivered",)),
    "07": Scenario(
        name="ban",
        summary="Fails, and the device is banned for 60 seconds.",
        fails="device_banned",
        mishap="banned",
    ),
    "08": Scenario(
        name="drop",
        summary="Sent, then the connection is lost for a second; the receipts come after it is back.",
        mishap="connection_lost",
    ),
    "09": Scenario(
        name="drop_while_sending",
        summary="The connection is lost before the answer: the outcome is unknown; the device reconnects.",
        unknown=True,
        mishap="connection_lost",
    ),
    "10": Scenario(
        name="unlinked",
        summary="Sent, then the phone unlinks the device: it is logged out and has to be paired again.",
        mishap="logged_out",
    ),
    "11": Scenario(
        name="media_refused",
        summary="Messages with media fail; others are sent, delivered and read.",
        fails="media_refused",
        media_only=True,
    ),
    "12": Scenario(
        name="reachout_timelock",
        summary="Fails: WhatsApp does not let this device write to new contacts for now.",
        fails="reachout_timelock",
    ),
    "13": Scenario(
        name="too_fast",
        summary="The first try is refused with the advice to retry in a second; the second try succeeds.",
        fails="rate_overlimit",
        times=1,
        retry_after_s=1.0,
    ),
    "14": Scenario(
        name="reply",
        summary="Sent, delivered, read, and answered with what was written; of a poll or a list the first is chosen.",
        reply="You wrote: {text}",
    ),
    "15": Scenario(
        name="replaced",
        summary="Sent, then another client takes over the connection.",
        mishap="replaced",
    ),
    "16": Scenario(
        name="outdated",
        summary="Fails: WhatsApp refuses this client version, and the device ends as outdated.",
        fails="client_outdated",
        mishap="outdated",
    ),
    "17": Scenario(
        name="group_left",
        summary="Fails as for a group that the device has left; meant for group ids.",
        fails="group_left",
    ),
    "18": Scenario(
        name="typing",
        summary="Sent, delivered and read; then the contact is online, types, pauses and is gone.",
        happens="presence",
    ),
    "19": Scenario(
        name="calls",
        summary="Sent, delivered and read; then the contact calls, every 30 s at most, and nobody answers.",
        happens="call",
    ),
    "20": Scenario(
        name="lost_file",
        summary="Sent, delivered and read; then the contact sends a document that WhatsApp no longer has.",
        happens="lost_file",
    ),
    "21": Scenario(
        name="new_picture",
        summary="Sent, delivered and read; then the contact changes the profile picture.",
        happens="picture",
    ),
    "22": Scenario(
        name="group_life",
        summary="Meant for group ids: subject and description change; a member comes, rises, falls and leaves.",
        happens="group",
    ),
    "23": Scenario(
        name="removed", summary="Meant for group ids: an admin removes the device from the group.", happens="removed"
    ),
    "24": Scenario(
        name="passkey",
        summary="A device that is scanned with this number ends as passkey_required; as a contact it is friendly.",
        passkey=True,
    ),
}

ECHO = "echo "

_SPECIAL = re.compile(r"55501(\d\d)(?::\d+)?@(?:s\.whatsapp\.net|lid|g\.us)")
_RECIPIENT = re.compile(r"[0-9][0-9-]*(?::\d+)?@(?:s\.whatsapp\.net|lid|g\.us)")


def is_recipient(jid: str) -> bool:
    """True for the JID of a person (`…@s.whatsapp.net`, `…@lid`), of a group (`…@g.us`), or of status updates."""
    return jid == STATUS or _RECIPIENT.fullmatch(jid) is not None


def scenario_of(jid: str) -> Scenario:
    """The scenario that a recipient's JID stands for."""
    special = _SPECIAL.search(jid)
    return FRIENDLY if special is None else SCENARIOS.get(special.group(1), FRIENDLY)


def refusal(scenario: Scenario, content: Content, attempt: int) -> Reason | None:
    """Why the try number `attempt` (from 1) of this message is refused; None when it is not."""
    if scenario.media_only and media_of(content) is None:
        return None
    if scenario.times is not None and attempt > scenario.times:
        return None
    return scenario.fails


def receipts(scenario: Scenario, content: Content) -> tuple[ReceiptKind, ...]:
    """The receipts that follow a sent message, in order."""
    if isinstance(content, Audio) and scenario.receipts == ("delivered", "read"):
        return ("delivered", "read", "played")
    return scenario.receipts


def reply(scenario: Scenario, content: Content) -> str | None:
    """The text that the contact answers, if it answers: its scenario's, or the rest of a text after "echo "."""
    said = content.text if isinstance(content, Text) else getattr(content, "caption", None) or ""
    if said.lower().startswith(ECHO) and said[len(ECHO) :].strip():
        return said[len(ECHO) :]
    return None if scenario.reply is None else scenario.reply.format(text=said)
