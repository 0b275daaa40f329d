"""The address book as callers see it."""

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from kurir.contracts.records import AddressBookEntry, ContactGroup

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Number = Annotated[str, Meta(min_length=5, max_length=64)]


class NewContact(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`number` is a phone number in any form that `to` of a message may have, `groupId` one of your contact groups."""

    name: Name
    number: Number
    group_id: str | None = None


class ContactChange(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is absent stays; `groupId: null` takes the contact out of its group."""

    name: Name | UnsetType = UNSET
    number: Number | UnsetType = UNSET
    group_id: str | UnsetType | None = UNSET


class SavedContactView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A contact of the address book; `number` are digits with country code."""

    id: str
    name: str
    number: str
    group_id: str | None
    group: str | None
    created_at: datetime
    updated_at: datetime


class NewContactGroup(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    name: Name


class ContactGroupView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A group of contacts, which is no group of WhatsApp's."""

    id: str
    name: str
    contacts: int
    created_at: datetime


def contact_view_of(entry: AddressBookEntry, group: ContactGroup | None) -> SavedContactView:
    return SavedContactView(
        id=entry.id,
        name=entry.name,
        number=entry.number,
        group_id=group.id if group is not None else None,
        group=group.name if group is not None else None,
        created_at=entry.created_at,
        updated_at=entry.updated_at,
    )
