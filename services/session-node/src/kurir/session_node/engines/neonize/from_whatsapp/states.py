"""What the library says about the connection, as states."""

from datetime import datetime, timedelta
from typing import Any

from neonize.proto import Neonize_pb2 as neonize

from kurir.session_node.engines.engine import StateChanged
from kurir.session_node.engines.neonize import library
from kurir.session_node.engines.neonize.from_whatsapp.who import jid_text


def connected(data: bytes) -> StateChanged:
    """Who the library says that we are (its Device event)."""
    device = neonize.Device.FromString(data)
    return StateChanged(
        state="connected",
        jid=jid_text(device.JID, device=True),
        lid=jid_text(device.LID) if device.LID.User else None,
        phone=device.JID.User or None,
        push_name=device.PushName or None,
    )


def final_state(kind: int, data: bytes, now: datetime) -> StateChanged | None:
    """The state that ends the session, if the event is one that does."""
    if kind == library.LOGGED_OUT:
        out = neonize.LoggedOut.FromString(data)
        detail, code = _refusal(out)
        return StateChanged(state="logged_out", reason="device_logged_out", detail=detail, code=code)
    if kind == library.STREAM_REPLACED:
        return StateChanged(state="replaced", reason="device_replaced")
    if kind == library.CLIENT_OUTDATED:
        return StateChanged(state="outdated", reason="client_outdated", code=405)
    if kind == library.TEMPORARY_BAN:
        ban = neonize.TemporaryBan.FromString(data)
        return StateChanged(
            state="banned",
            reason="device_banned",
            code=402,
            detail=neonize.TemporaryBan.TempBanReason.Name(ban.Code) if ban.HasField("Code") else None,
            banned_until=now + timedelta(seconds=ban.Expire) if ban.Expire > 0 else None,
        )
    return None


def connect_failure(data: bytes) -> tuple[str, int | None]:
    """What WhatsApp said when it refused the login for a reason that has no event of its own, and its number for it."""
    event = neonize.ConnectFailure.FromString(data)
    name, code = _refusal(event)
    return f"{name or 'unknown'}: {event.Message}" if event.Message else name or "unknown", code


# The library numbers them by itself; these are WhatsApp's numbers, as whatsmeow has them (types/events/events.go).
_CODES = {
    "GENERIC": 400,
    "LOGGED_OUT": 401,
    "TEMP_BANNED": 402,
    "MAIN_DEVICE_GONE": 403,
    "UNKNOWN_LOGOUT": 406,
    "CLIENT_OUTDATED": 405,
    "BAD_USER_AGENT": 409,
    "INTERNAL_SERVER_ERROR": 500,
    "EXPERIMENTAL": 501,
    "SERVICE_UNAVAILABLE": 503,
}


def _refusal(event: Any) -> tuple[str | None, int | None]:
    """Name and number of a refusal; nothing of one that the library has no name for."""
    if not event.HasField("Reason"):
        return None, None
    name = neonize.ConnectFailureReason.Name(event.Reason)
    return name, _CODES.get(name)


def pairing_code(answer: bytes) -> tuple[str, str]:
    """The code for the phone, or "" and why not."""
    result = neonize.PairPhoneReturnFunction.FromString(answer)
    return result.Code, result.Error
