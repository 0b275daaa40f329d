"""WhatsApp's events as observations, and the library's error texts as failures. Pure: no I/O.

Import only after `library.load()` succeeded.
"""

from kurir.session_node.engines.neonize.from_whatsapp.messages import opened_vote, received, status_posted
from kurir.session_node.engines.neonize.from_whatsapp.receipts import receipt
from kurir.session_node.engines.neonize.from_whatsapp.seen import seen
from kurir.session_node.engines.neonize.from_whatsapp.sends import (
    download_failure,
    downloaded,
    send_failure,
    sent,
    uploaded,
)
from kurir.session_node.engines.neonize.from_whatsapp.states import (
    connect_failure,
    connected,
    final_state,
    pairing_code,
)
from kurir.session_node.engines.neonize.from_whatsapp.who import address, jid_text, moment, number_of

__all__ = [
    "address",
    "connect_failure",
    "connected",
    "download_failure",
    "downloaded",
    "final_state",
    "jid_text",
    "moment",
    "number_of",
    "opened_vote",
    "pairing_code",
    "receipt",
    "received",
    "seen",
    "send_failure",
    "sent",
    "status_posted",
    "uploaded",
]
