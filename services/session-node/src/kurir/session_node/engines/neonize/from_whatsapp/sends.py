"""What the library answers to a send, an upload and a download, and which failure an error text of it means."""

import re
from typing import Any

from neonize.proto import Neonize_pb2 as neonize

from kurir.contracts.content import Address
from kurir.contracts.states import Reason
from kurir.session_node.engines.engine import NotConnected, OutcomeUnknown, SendFailed, Sent
from kurir.session_node.engines.neonize.from_whatsapp.who import jid_text, moment


def sent(answer: bytes, to: str) -> Sent:
    """What became of a message to the JID `to`: its chat is named as we named it, with the hidden id if that was used.

    Raises SendFailed, OutcomeUnknown or NotConnected by the library's error text.
    """
    result = neonize.SendMessageReturnFunction.FromString(answer)
    if result.Error:
        raise send_failure(result.Error)
    response = result.SendResponse
    server = to.partition("@")[2]
    hidden = jid_text(response.Chat) if response.Chat.Server == "lid" else None
    chat = Address(jid=to, pn=to if server == "s.whatsapp.net" else None, lid=to if server == "lid" else hidden)
    return Sent(whatsapp_id=response.ID, sent_at=moment(response.Timestamp), chat=chat)


# Texts of whatsmeow's errors (errors.go, send.go, request.go), first match counts. A reason is for messages that were
# certainly not sent; None means that the message had left when the error came.
_NO_KEYS: tuple[Reason, float] = ("device_store_unavailable", 5.0)
_FAILURES: tuple[tuple[str, Reason | None, float | None], ...] = (
    (r"server returned error 463\b", "reachout_timelock", None),
    (r"server returned error 429\b|rate-overlimit", "rate_overlimit", 60.0),
    (r"server returned error (?:403|420|421)\b", "group_left", None),
    (r"server returned error", "engine_error", None),
    (r"no LID found|not on whatsapp", "not_on_whatsapp", None),
    (r"timed out waiting for message send response", None, None),
    (r"disconnected before message send returned", None, None),
    # Keys are read before a message leaves; whatsmeow's own words, then those of its PostgreSQL and SQLite drivers.
    (r"^(?!.*failed to send message node).*(?:\bpq: |database is locked|EOF$|bad connection$)", *_NO_KEYS),
    (r"^(?!.*failed to send message node).*(?:connection (?:refused|reset by peer)|broken pipe|timeout)$", *_NO_KEYS),
    (r"not participating in that group|not a participant", "group_left", None),
    (r"that group does not exist", "invalid_recipient", None),
    (r"group members.*(?:forbidden|item-not-found|not-authorized|40[134])", "group_left", None),
    (r"unknown (?:user )?server|invalid (?:recipient|jid)|recipient JID", "invalid_recipient", None),
    (r"info query timed out|disconnected before info query", "server_unavailable", 10.0),
)
_NO_CONNECTION = re.compile(r"websocket not connected|doesn't contain a device JID|not logged in|client is nil")


def send_failure(text: str) -> Exception:
    """The failure that an error text of the library means: SendFailed, OutcomeUnknown or NotConnected."""
    if _NO_CONNECTION.search(text):
        return NotConnected()
    for pattern, reason, retry_after_s in _FAILURES:
        if re.search(pattern, text, re.IGNORECASE):
            return OutcomeUnknown(text) if reason is None else SendFailed(reason, text, retry_after_s)
    if "failed to send message node" in text:
        return OutcomeUnknown(text)
    return SendFailed("engine_error", text)


def uploaded(answer: bytes) -> Any:
    """The answer of an upload. Raises SendFailed."""
    result = neonize.UploadReturnFunction.FromString(answer)
    if not result.Error:
        return result.UploadResponse
    failure = send_failure(result.Error)
    if isinstance(failure, NotConnected):
        raise failure
    refused = re.search(r"status code 4\d\d", result.Error)
    raise SendFailed("media_refused" if refused else "server_unavailable", result.Error, None if refused else 30.0)


# Texts of whatsmeow's errors (errors.go, download.go), first match counts.
_DOWNLOAD_FAILURES: tuple[tuple[str, Reason], ...] = (
    (r"status code (?:403|404|410)\b", "media_expired"),
    (r"hash of media|invalid media (?:hmac|enc|sha)|file length does not match|invalid padding", "media_damaged"),
    (r"[Cc]lient\.Timeout|deadline exceeded|timed out", "media_timeout"),
)


def download_failure(text: str) -> Reason:
    """Why media could not be fetched, by an error text of the library."""
    return next((reason for pattern, reason in _DOWNLOAD_FAILURES if re.search(pattern, text)), "media_fetch_failed")


def downloaded(answer: bytes) -> tuple[bytes, str]:
    """The bytes of a download, or "" and why not."""
    result = neonize.DownloadReturnFunction.FromString(answer)
    return result.Binary, result.Error
