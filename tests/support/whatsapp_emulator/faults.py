"""What goes wrong on this WhatsApp, set and reset by the control API."""

import msgspec

from tests.support.whatsapp_emulator.accounts import Account
from tests.support.whatsapp_emulator.jid import Jid

EVERYONE = "*"


class Faults(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Recipients are phone numbers, the part of a group's JID before the @, or "*" for everyone.

    login_failure    by the account's number: the attributes of the <failure> that a login gets, such as
                     {"reason": "403"}; 402 is a temporary ban and has "code" and "expire" (seconds)
    ack_error        by recipient: the error that the acknowledgement carries, such as "463"; not relayed then
    drop_acks        recipients: messages are relayed and not acknowledged
    lose_messages    recipients: messages are neither relayed nor acknowledged
    ack_delay_s      before each acknowledgement
    silent_iqs       kinds of IQ that get no answer, as "xmlns:type:child", such as "w:p:get:" or "usync:get:usync"
    iq_errors        by kind of IQ: the code and the text of the error that it gets
    qr_refs          QR codes per pairing; the first lasts 60 s and each further one 20 s
    upload_status    HTTP status that media uploads get
    download_status  HTTP status that media downloads get
    download_delay_s before each answer of the media host to a download
    is_down          nobody is let in, and who was in was cut off
    everyone_is_here every number that is asked for becomes an account with a phone
    """

    login_failure: dict[str, dict[str, str]] = {}
    ack_error: dict[str, str] = {}
    drop_acks: set[str] = set()
    lose_messages: set[str] = set()
    ack_delay_s: float = 0.0
    silent_iqs: set[str] = set()
    iq_errors: dict[str, tuple[str, str]] = {}
    qr_refs: int = 6
    upload_status: int | None = None
    download_status: int | None = None
    download_delay_s: float = 0.0
    is_down: bool = False
    everyone_is_here: bool = False


def concerns(recipients: set[str], to: Jid, account: Account | None) -> bool:
    """True when a message to that address is among the recipients."""
    return bool(recipients) and not recipients.isdisjoint((EVERYONE, recipient_name(to, account)))


def ack_error(faults: Faults, to: Jid, account: Account | None) -> str | None:
    """The error that a message to that address gets."""
    return faults.ack_error.get(recipient_name(to, account)) or faults.ack_error.get(EVERYONE)


def recipient_name(to: Jid, account: Account | None) -> str:
    """A message to an account is addressed by its LID; here it is known by its number."""
    return to.user if account is None else account.phone
