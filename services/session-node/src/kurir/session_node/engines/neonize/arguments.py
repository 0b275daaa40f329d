"""How the library takes what it is asked with, and how it says that something went wrong."""

from collections.abc import Callable

from kurir.session_node.engines.engine import SendFailed
from kurir.session_node.engines.neonize.media_forms import MediaForms
from kurir.session_node.engines.requests import RequestFailed


def jid_of(text: str) -> tuple[bytes, int]:
    """As the library takes JIDs: the protobuf and its length. Raises RequestFailed."""
    from kurir.session_node.engines.neonize import to_whatsapp

    data = understood(lambda: to_whatsapp.jid(text).SerializeToString())
    return data, len(data)


def understood(make: Callable[..., bytes], *arguments: object) -> bytes:
    """What `make` makes. Raises RequestFailed where that raises ValueError."""
    try:
        return make(*arguments)
    except ValueError as error:
        raise RequestFailed("invalid_recipient", str(error)) from error


async def portrait_of(forms: MediaForms, picture: bytes) -> bytes:
    """The picture of a person or group in WhatsApp's form. Raises RequestFailed."""
    try:
        return await forms.portrait(picture)
    except SendFailed as failed:
        raise RequestFailed(failed.reason, failed.detail) from failed


def done(error: bytes) -> None:
    """The answer of a call that has nothing to say but what went wrong. Raises RequestFailed or NotConnected."""
    from kurir.session_node.engines.neonize.from_whatsapp import answers

    answers.require_done(error.decode(errors="replace"))
