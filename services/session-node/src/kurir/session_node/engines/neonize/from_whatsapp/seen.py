"""What the library says of others: presence, calls, groups, pictures."""

from kurir.session_node.engines.neonize import library
from kurir.session_node.engines.neonize.from_whatsapp.calls import call
from kurir.session_node.engines.neonize.from_whatsapp.contacts import picture_change
from kurir.session_node.engines.neonize.from_whatsapp.groups import group_changes, joined_group
from kurir.session_node.engines.neonize.from_whatsapp.presence import chat_presence, presence
from kurir.session_node.engines.observations import Seen


def seen(kind: int, data: bytes, own: frozenset[str]) -> list[Seen]:
    """What an event says of others, nothing when it is about something else. `own` are our JIDs."""
    match kind:
        case library.PRESENCE:
            return [presence(data)]
        case library.CHAT_PRESENCE:
            typing = chat_presence(data)
            return [] if typing is None else [typing]
        case library.CALL_OFFER | library.CALL_OFFER_NOTICE | library.CALL_ACCEPT | library.CALL_TERMINATE:
            return [call(kind, data)]
        case library.JOINED_GROUP:
            return [joined_group(data)]
        case library.GROUP_INFO:
            return [*group_changes(data, own)]
        case library.PICTURE:
            return [picture_change(data)]
        case _:
            return []
