"""Pictures of people and groups."""

from neonize.proto import Neonize_pb2 as neonize

from kurir.session_node.engines.neonize.from_whatsapp.who import address, moment
from kurir.session_node.engines.observations import ContactChanged, GroupChanged


def picture_change(data: bytes) -> ContactChanged | GroupChanged:
    """A picture was set or removed, of a person or a group."""
    event = neonize.Picture.FromString(data)
    whose, at = address(event.JID), moment(event.Timestamp)
    if whose.jid.endswith("@g.us"):
        author = address(event.Author) if event.Author.User else None
        return GroupChanged(chat=whose, author=author, picture="removed" if event.Remove else "changed", at=at)
    return ContactChanged(contact=whose, picture="removed" if event.Remove else "changed", at=at)
