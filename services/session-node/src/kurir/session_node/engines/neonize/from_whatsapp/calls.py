"""Calls: that one rings, and what became of it."""

from typing import Any

from neonize.proto import Neonize_pb2 as neonize

from kurir.contracts.content import Address
from kurir.session_node.engines.neonize import library
from kurir.session_node.engines.neonize.from_whatsapp.who import address, jid_text, moment
from kurir.session_node.engines.observations import CallSeen, CallState

# What WhatsApp says to devices that rang, when the account answered or declined on another one, or nobody did.
_ENDS: dict[str, CallState] = {"accepted_elsewhere": "accepted", "rejected_elsewhere": "rejected", "timeout": "missed"}


def call(kind: int, data: bytes) -> CallSeen:
    """One of the events CALL_OFFER, CALL_OFFER_NOTICE, CALL_ACCEPT and CALL_TERMINATE."""
    event: Any
    state: CallState
    reason = None
    if kind == library.CALL_OFFER:
        event, state = neonize.CallOffer.FromString(data), "offered"
    elif kind == library.CALL_OFFER_NOTICE:
        event, state = neonize.CallOfferNotice.FromString(data), "offered"
    elif kind == library.CALL_ACCEPT:
        event, state = neonize.CallAccept.FromString(data), "accepted"
    else:
        event = neonize.CallTerminate.FromString(data)
        reason = event.reason or None
        state = _ENDS.get(event.reason, "ended")
    meta = event.basicCallMeta
    caller = address(meta.callCreator, meta.callCreatorAlt)
    group = _group_of(event.data)
    return CallSeen(
        call_id=meta.callID,
        chat=caller if group is None else Address(jid=group),
        sender=caller,
        state=state,
        is_video=_is_video(event),
        is_group=group is not None or getattr(event, "type", "") == "group",
        reason=reason,
        at=moment(meta.timestamp),
    )


def _group_of(data: Any) -> str | None:
    named = (attribute.jid for attribute in data.Attrs if attribute.name == "group-jid" and attribute.jid.User)
    return next(map(jid_text, named), None)


def _is_video(event: Any) -> bool:
    return getattr(event, "media", "") == "video" or any(child.Tag == "video" for child in event.data.Nodes)
