"""What helps a device that is not connected, by how its owner says that it is."""

from kurir.api.problems import Problem
from kurir.contracts.records import Session
from kurir.contracts.states import SENTENCES, ConnectionState

_BY_STATE: dict[ConnectionState, str] = {
    "connecting": "it is connecting; ask again when it is CONNECTED.",
    "qr": "scan its QR code first.",
    "pairing_code": "type its pairing code on the phone first.",
    "logged_out": "it is unlinked from WhatsApp; connect it and pair it again by QR or phone code.",
    "banned": "WhatsApp has banned this number without naming an end; have the ban lifted, then connect it again.",
}


def not_connected(session: Session | None) -> Problem:
    """The problem of a question that only a connected device answers."""
    if session is None:
        return Problem("DEVICE_NOT_CONNECTED")
    helps = _BY_STATE.get(session.state)
    if session.state == "banned" and session.banned_until is not None:
        until = session.banned_until.isoformat(timespec="seconds")
        helps = f"WhatsApp has banned this number until {until}; it connects again by itself then."
    elif helps is None and session.reason not in (None, "requested"):
        helps = SENTENCES[session.reason]
    return Problem("DEVICE_NOT_CONNECTED", helps and f"The device is not connected: {helps}", reason=session.reason)
