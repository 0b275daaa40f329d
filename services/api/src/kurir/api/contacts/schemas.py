"""People as callers see them."""

from typing import Annotated

from msgspec import Meta, Struct

from kurir.api.people import Person, phone_of
from kurir.contracts.people import KnownContact, NumberCheck
from kurir.contracts.queries import ContactPage


class CheckNumbers(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Phone numbers in any form that `to` of a message may have."""

    numbers: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(min_length=1, max_length=50)]


class NumberView(Struct, frozen=True, kw_only=True, rename="camel"):
    """`number` is what was asked for; `id` and `lid` are what WhatsApp calls its account."""

    number: str
    phone_number: str
    is_on_whatsapp: bool
    id: str | None = None
    lid: str | None = None


class ContactView(Person, frozen=True, kw_only=True, rename="camel"):
    """`name` is what the account's owner calls the contact, `pushName` what it calls itself."""

    name: str | None = None
    push_name: str | None = None
    business_name: str | None = None


class ContactPageView(Struct, frozen=True, kw_only=True, rename="camel"):
    """`next` is the cursor of the next page, null on the last one."""

    contacts: list[ContactView]
    next: str | None


class PictureView(Struct, frozen=True, kw_only=True, rename="camel"):
    """`url` is WhatsApp's, and valid for some days. `id` changes with the picture."""

    id: str
    url: str


class AboutView(Struct, frozen=True, kw_only=True, rename="camel"):
    about: str | None


def page_view_of(page: ContactPage) -> ContactPageView:
    return ContactPageView(contacts=[_contact_of(contact) for contact in page.contacts], next=page.next)


def number_view_of(number: str, check: NumberCheck) -> NumberView:
    address = check.address
    return NumberView(
        number=number,
        phone_number=check.phone,
        is_on_whatsapp=check.is_on_whatsapp,
        id=address.jid if address is not None else None,
        lid=address.lid if address is not None else None,
    )


def _contact_of(contact: KnownContact) -> ContactView:
    address = contact.address
    return ContactView(
        id=address.jid,
        phone_number=phone_of(address),
        lid=address.lid,
        name=contact.name,
        push_name=contact.push_name,
        business_name=contact.business_name,
    )
