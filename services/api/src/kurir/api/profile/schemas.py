"""The account's own profile as callers write it."""

from typing import Annotated

from msgspec import Meta, Struct

from kurir.contracts.people import Privacy, PrivacyLevel


class ChangeProfile(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is absent stays. `name` is what the account calls itself; an empty `about` takes the about text away."""

    name: Annotated[str, Meta(min_length=1, max_length=25)] | None = None
    about: Annotated[str, Meta(max_length=139)] | None = None


class PrivacySettings(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Who sees what of the account, and who may add it to groups and call it; null: WhatsApp does not tell, and what is
    absent or null of a change stays. `contacts_except` is all contacts but those listed on the phone, `match_last_seen`
    as for `lastSeen`. WhatsApp knows not every level for everything, and refuses others."""

    last_seen: PrivacyLevel | None = None
    online: PrivacyLevel | None = None
    profile_picture: PrivacyLevel | None = None
    about: PrivacyLevel | None = None
    read_receipts: PrivacyLevel | None = None
    groups: PrivacyLevel | None = None
    calls: PrivacyLevel | None = None


def privacy_of(settings: PrivacySettings) -> Privacy:
    return Privacy(**{name: getattr(settings, name) for name in settings.__struct_fields__})


def view_of(privacy: Privacy) -> PrivacySettings:
    return PrivacySettings(**{name: getattr(privacy, name) for name in privacy.__struct_fields__})
