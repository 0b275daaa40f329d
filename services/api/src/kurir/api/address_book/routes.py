"""`/contacts` and `/contact-groups`: the account's own address book."""

from typing import Annotated

from litestar import Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from kurir.api.address_book.schemas import (
    ContactChange,
    ContactGroupView,
    NewContact,
    NewContactGroup,
    SavedContactView,
    contact_view_of,
)
from kurir.api.address_book.service import AddressBook
from kurir.api.auth import Caller
from kurir.contracts.records import ContactGroup


@get("/contacts")
async def list_saved_contacts(
    caller: NamedDependency[Caller],
    address_book: NamedDependency[AddressBook],
    group_id: Annotated[str | None, QueryParameter(name="groupId", description="of this group alone")] = None,
) -> list[SavedContactView]:
    """Whom you have saved, by name."""
    found = address_book.contacts(caller, group_id)
    return [contact_view_of(entry, address_book.group_of(entry)) for entry in found]


@post("/contacts")
async def save_contact(
    data: JSONBody[NewContact], caller: NamedDependency[Caller], address_book: NamedDependency[AddressBook]
) -> SavedContactView:
    """Save a number under a name. WhatsApp is not asked, and not told."""
    entry = await address_book.add(caller, data)
    return contact_view_of(entry, address_book.group_of(entry))


@patch("/contacts/{contact_id:str}")
async def change_saved_contact(
    contact_id: FromPath[str],
    data: JSONBody[ContactChange],
    caller: NamedDependency[Caller],
    address_book: NamedDependency[AddressBook],
) -> SavedContactView:
    """Change a saved contact."""
    entry = await address_book.change(caller, contact_id, data)
    return contact_view_of(entry, address_book.group_of(entry))


@delete("/contacts/{contact_id:str}")
async def delete_saved_contact(
    contact_id: FromPath[str], caller: NamedDependency[Caller], address_book: NamedDependency[AddressBook]
) -> None:
    """Delete a saved contact."""
    await address_book.remove(caller, contact_id)


@get("/contact-groups")
async def list_contact_groups(
    caller: NamedDependency[Caller], address_book: NamedDependency[AddressBook]
) -> list[ContactGroupView]:
    """Your groups of saved contacts, by name. They are no groups of WhatsApp's."""
    return [_view_of(group, size) for group, size in address_book.groups(caller)]


@post("/contact-groups")
async def create_contact_group(
    data: JSONBody[NewContactGroup], caller: NamedDependency[Caller], address_book: NamedDependency[AddressBook]
) -> ContactGroupView:
    """Make a group of saved contacts."""
    return _view_of(await address_book.add_group(caller, data.name), 0)


@patch("/contact-groups/{group_id:str}")
async def rename_contact_group(
    group_id: FromPath[str],
    data: JSONBody[NewContactGroup],
    caller: NamedDependency[Caller],
    address_book: NamedDependency[AddressBook],
) -> ContactGroupView:
    """Rename a group of saved contacts."""
    group = await address_book.rename_group(caller, group_id, data.name)
    return _view_of(group, len(address_book.contacts(caller, group.id)))


@delete("/contact-groups/{group_id:str}")
async def delete_contact_group(
    group_id: FromPath[str], caller: NamedDependency[Caller], address_book: NamedDependency[AddressBook]
) -> None:
    """Delete a group; its contacts stay."""
    await address_book.remove_group(caller, group_id)


def _view_of(group: ContactGroup, size: int) -> ContactGroupView:
    return ContactGroupView(id=group.id, name=group.name, contacts=size, created_at=group.created_at)


routes = (
    list_saved_contacts,
    save_contact,
    change_saved_contact,
    delete_saved_contact,
    list_contact_groups,
    create_contact_group,
    rename_contact_group,
    delete_contact_group,
)


def router() -> Router:
    return Router("/", route_handlers=routes, tags=["Address book"])
