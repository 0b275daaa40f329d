"""What clients ask and are told about the account's own profile, its privacy, and whom it blocks. Pure.

Reading raises Invalid. Names and levels of privacy are those of WhatsApp's own protocol, as the original hands them on.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from kurir.contracts.people import Privacy, PrivacyLevel
from kurir.dialects.evolution.fields import Fields
from kurir.dialects.evolution.requests import number_of

MAX_NAME: Final = 25
MAX_ABOUT: Final = 139
DONE: Final = {"update": "success"}
BLOCKED: Final = {"block": "success"}

_SEEN_BY: Final = ("all", "contacts", "contact_blacklist", "none")
_LEVELS: Final[dict[str, tuple[str, ...]]] = {
    "readreceipts": ("all", "none"),
    "profile": _SEEN_BY,
    "status": _SEEN_BY,
    "online": ("all", "match_last_seen"),
    "last": _SEEN_BY,
    "groupadd": _SEEN_BY,
}
_OURS: Final = {
    "readreceipts": "read_receipts",
    "profile": "profile_picture",
    "status": "about",
    "online": "online",
    "last": "last_seen",
    "groupadd": "groups",
}
_LEVEL_OF: Final[dict[str, PrivacyLevel]] = {
    "all": "all",
    "contacts": "contacts",
    "contact_blacklist": "contacts_except",
    "match_last_seen": "match_last_seen",
    "none": "none",
}
_WORD_OF: Final = {level: word for word, level in _LEVEL_OF.items()}


class Blocking(Struct, frozen=True, kw_only=True):
    """Whether the person of a number, as it was written, is to be blocked."""

    number: str
    blocked: bool


def name(values: Mapping[str, Any]) -> str:
    """`POST /chat/updateProfileName`."""
    fields = Fields(values)
    fields.require("name")
    found = fields.text("name", min_length=1, max_length=MAX_NAME)
    fields.check()
    return found


def about(values: Mapping[str, Any]) -> str:
    """`POST /chat/updateProfileStatus`."""
    fields = Fields(values)
    fields.require("status")
    found = fields.text("status", max_length=MAX_ABOUT)
    fields.check()
    return found


def blocking(values: Mapping[str, Any]) -> Blocking:
    """`PUT /chat/updateBlockStatus`."""
    fields = Fields(values)
    fields.require("status")
    found = Blocking(number=number_of(fields), blocked=fields.text("status", allowed=("block", "unblock")) == "block")
    fields.check()
    return found


def privacy(values: Mapping[str, Any]) -> Privacy:
    """`PUT /chat/updatePrivacySettings`: v1 writes the settings into `privacySettings`, v2 beside each other."""
    fields = Fields(values)
    body = fields.part("privacySettings") if fields.has("privacySettings") else fields
    body.require(*_LEVELS)
    found = {_OURS[word]: _LEVEL_OF.get(body.text(word, allowed=levels)) for word, levels in _LEVELS.items()}
    fields.check()
    return Privacy(**found)


def privacy_shown(found: Privacy) -> dict[str, Any]:
    """What WhatsApp does not tell is null."""
    levels = {word: getattr(found, ours) for word, ours in _OURS.items()}
    return {word: _WORD_OF.get(level, level) for word, level in levels.items()}


def privacy_set(holds: Privacy) -> dict[str, Any]:
    return {"update": "success", "data": privacy_shown(holds)}
