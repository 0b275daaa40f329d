"""JIDs and moments as the library writes them. Chats and senders come as hidden ids (LID), the phone number beside."""

from datetime import UTC, datetime
from typing import Any

from neonize.proto import Neonize_pb2 as neonize

from kurir.contracts.content import Address


def jid_text(jid: Any, *, device: bool = False) -> str:
    """A JID as text; with its device number when asked and when there is one."""
    if not jid.User:
        return str(jid.Server)
    return f"{jid.User}:{jid.Device}@{jid.Server}" if device and jid.Device else f"{jid.User}@{jid.Server}"


def address(jid: Any, other: Any = None) -> Address:
    """A person or group in every form that the two JIDs of one event tell."""
    known = {each.Server: jid_text(each) for each in (other, jid) if each is not None and each.User}
    return Address(jid=jid_text(jid), pn=known.get("s.whatsapp.net"), lid=known.get("lid"))


def moment(timestamp: int) -> datetime:
    """The library gives seconds in some places and milliseconds in others."""
    return datetime.fromtimestamp(timestamp / 1000 if timestamp > 100_000_000_000 else timestamp, UTC)


def number_of(answer: bytes) -> str | None:
    """The phone number's JID of a hidden id, as the device's store knows it."""
    result = neonize.GetJIDFromStoreReturnFunction.FromString(answer)
    return jid_text(result.Jid) if not result.Error and result.Jid.User else None
