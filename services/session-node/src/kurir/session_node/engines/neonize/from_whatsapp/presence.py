"""Who is online, and who types or records."""

from datetime import UTC, datetime

from neonize.proto import Neonize_pb2 as neonize

from kurir.session_node.engines.neonize.from_whatsapp.who import address, moment
from kurir.session_node.engines.observations import PresenceSeen


def presence(data: bytes) -> PresenceSeen:
    """Somebody whose presence is watched came online or went; WhatsApp gives it no time of its own."""
    event = neonize.Presence.FromString(data)
    who = address(event.From)
    return PresenceSeen(
        chat=who,
        sender=who,
        presence="unavailable" if event.Unavailable else "available",
        last_seen=moment(event.LastSeen) if event.LastSeen > 0 else None,  # Go's time zero is before 1970
        at=datetime.now(UTC),
    )


def chat_presence(data: bytes) -> PresenceSeen | None:
    """Somebody types, records or no longer does; None of ourselves."""
    event = neonize.ChatPresence.FromString(data)
    source = event.MessageSource
    if source.IsFromMe:
        return None
    is_composing = event.State == neonize.ChatPresence.COMPOSING
    is_voice = event.Media == neonize.ChatPresence.AUDIO
    return PresenceSeen(
        chat=address(source.Chat, None if source.IsGroup else source.SenderAlt),
        sender=address(source.Sender, source.SenderAlt),
        presence=("recording" if is_voice else "composing") if is_composing else "paused",
        at=datetime.now(UTC),
    )
