"""From what a device saw of others to events: presence, calls, groups, contacts.

An event's id is computed from what happened, so that what WhatsApp tells twice is stored once. Presence is true for a
moment and has a random one.
"""

import msgspec

from kurir.contracts import ids
from kurir.contracts.events import (
    CallUpdated,
    ContactUpdated,
    Event,
    GroupMembersChanged,
    GroupUpdated,
    GroupUpserted,
    PresenceUpdated,
)
from kurir.session_node.engines.observations import (
    CallSeen,
    ContactChanged,
    GroupChanged,
    GroupJoined,
    MembershipChanged,
    PresenceSeen,
    Seen,
)

_EVENT_OF: dict[type[Seen], type[Event]] = {
    PresenceSeen: PresenceUpdated,
    CallSeen: CallUpdated,
    GroupJoined: GroupUpserted,
    GroupChanged: GroupUpdated,
    MembershipChanged: GroupMembersChanged,
    ContactChanged: ContactUpdated,
}


def observed_event(tenant: str, device: str, seen: Seen) -> Event:
    """The event of an observation, which has the same fields."""
    said = msgspec.structs.asdict(seen)
    return _EVENT_OF[type(seen)](id=_id_of(device, seen), tenant=tenant, device=device, **said)


def _id_of(device: str, seen: Seen) -> str:
    """People take part by their JID alone: their other address may be known the second time only."""
    match seen:
        case PresenceSeen():
            return ids.uuid7()
        case CallSeen():
            return ids.observed_event_id("call", device, seen.call_id, seen.state)
        case GroupJoined():
            return ids.observed_event_id("joined", device, seen.chat.jid, seen.at.isoformat())
        case GroupChanged():
            changed = msgspec.json.encode(msgspec.structs.replace(seen, author=None)).decode()
            return ids.observed_event_id("group", device, seen.chat.jid, seen.at.isoformat(), changed)
        case MembershipChanged():
            members = sorted(member.jid for member in seen.participants)
            return ids.observed_event_id("members", device, seen.chat.jid, seen.at.isoformat(), seen.action, *members)
        case ContactChanged():
            return ids.observed_event_id("contact", device, seen.contact.jid, seen.at.isoformat(), seen.picture)
