"""A tenant's address book: names for numbers, in groups. WhatsApp knows nothing of it."""

from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from kurir.api.address_book.schemas import ContactChange, NewContact
from kurir.api.auth import Caller
from kurir.api.people import phone_in
from kurir.api.problems import Problem
from kurir.contracts import ids
from kurir.contracts.records import AddressBookEntry, ContactGroup
from kurir.runtime.clock import Clock
from kurir.runtime.registry import KeyMissing, Registry, RevisionConflict, key_of

MAX_CONTACTS = 10_000  # of a tenant: every replica holds them in memory, some 300 bytes each
MAX_GROUPS = 1_000


class AddressBook:
    """What takes a caller raises Problem FORBIDDEN for a key that is bound to one device; what writes, PublishError."""

    def __init__(self, clock: Clock, contacts: Registry[AddressBookEntry], groups: Registry[ContactGroup]) -> None:
        self._clock = clock
        self._contacts = contacts
        self._groups = groups

    def contacts(self, caller: Caller, group_id: str | None) -> list[AddressBookEntry]:
        """By name; those of a group, or all. Raises Problem NOT_FOUND for no group of the caller's."""
        if group_id is not None:
            self.group(caller, group_id, "groupId")
        found = [entry for _, entry in self._contacts.items(_account(caller))]
        found = [entry for entry in found if group_id in (None, entry.group)]
        return sorted(found, key=lambda entry: (entry.name.casefold(), entry.id))

    def groups(self, caller: Caller) -> list[tuple[ContactGroup, int]]:
        """By name, with how many contacts are in each."""
        sizes: dict[str | None, int] = {}
        for _, entry in self._contacts.items(_account(caller)):
            sizes[entry.group] = sizes.get(entry.group, 0) + 1
        found = [group for _, group in self._groups.items(caller.tenant.id)]
        return [(g, sizes.get(g.id, 0)) for g in sorted(found, key=lambda group: (group.name.casefold(), group.id))]

    def group(self, caller: Caller, group_id: str, field: str | None = None) -> ContactGroup:
        """Raises Problem NOT_FOUND, for another tenant's too."""
        found = self._groups.get(f"{_account(caller)}.{group_id}")
        if found is None:
            raise Problem("NOT_FOUND", "There is no such contact group.", field=field)
        return found

    def group_names(self, tenant_id: str) -> list[str]:
        """Of the tenant's groups."""
        return sorted(group.name for _, group in self._groups.items(tenant_id))

    def numbers_in(self, tenant_id: str, group: str) -> list[str]:
        """The numbers in a group of this name or id; [] when there is none."""
        ids_ = {found.id for _, found in self._groups.items(tenant_id) if group in (found.id, found.name)}
        return [entry.number for _, entry in self._contacts.items(tenant_id) if entry.group in ids_]

    def group_of(self, entry: AddressBookEntry) -> ContactGroup | None:
        """None for a contact in no group, or in one that was deleted."""
        return self._groups.get(f"{entry.tenant}.{entry.group}") if entry.group is not None else None

    async def add(self, caller: Caller, new: NewContact) -> AddressBookEntry:
        """Raises Problem LIMIT_REACHED, or about a field."""
        if len(self._contacts.items(_account(caller))) >= MAX_CONTACTS:
            raise Problem("LIMIT_REACHED", f"An address book has at most {MAX_CONTACTS} contacts.")
        now = self._clock.now()
        entry = AddressBookEntry(
            id=ids.short_id("con_"),
            tenant=caller.tenant.id,
            name=new.name,
            number=phone_in(new.number, caller.tenant.country, "number"),
            group=self.group(caller, new.group_id, "groupId").id if new.group_id is not None else None,
            created_at=now,
            updated_at=now,
        )
        await self._contacts.create(key_of(entry.tenant, entry.id), entry)
        return entry

    async def change(self, caller: Caller, contact_id: str, change: ContactChange) -> AddressBookEntry:
        """Raises Problem NOT_FOUND or CONFLICT, or about a field."""
        given: dict[str, Any] = {"updated_at": self._clock.now()}
        if change.name is not UNSET:
            given["name"] = change.name
        if isinstance(change.number, str):
            given["number"] = phone_in(change.number, caller.tenant.country, "number")
        if change.group_id is not UNSET:
            group_id = change.group_id
            given["group"] = self.group(caller, group_id, "groupId").id if group_id is not None else None
        key = self._known(caller, contact_id)
        try:
            return await self._contacts.change(key, lambda entry: replace(entry, **given))
        except KeyMissing:
            raise Problem("NOT_FOUND", "There is no such contact.") from None
        except RevisionConflict:
            raise Problem("CONFLICT") from None

    async def remove(self, caller: Caller, contact_id: str) -> None:
        """Raises Problem NOT_FOUND."""
        await self._contacts.delete(self._known(caller, contact_id))

    async def add_group(self, caller: Caller, name: str) -> ContactGroup:
        """Raises Problem LIMIT_REACHED."""
        if len(self._groups.items(_account(caller))) >= MAX_GROUPS:
            raise Problem("LIMIT_REACHED", f"An address book has at most {MAX_GROUPS} groups.")
        group = ContactGroup(id=ids.short_id("grp_"), tenant=caller.tenant.id, name=name, created_at=self._clock.now())
        await self._groups.create(key_of(group.tenant, group.id), group)
        return group

    async def rename_group(self, caller: Caller, group_id: str, name: str) -> ContactGroup:
        """Raises Problem NOT_FOUND or CONFLICT."""
        known = self.group(caller, group_id)
        try:
            return await self._groups.change(key_of(known.tenant, known.id), lambda group: replace(group, name=name))
        except KeyMissing:
            raise Problem("NOT_FOUND", "There is no such contact group.") from None
        except RevisionConflict:
            raise Problem("CONFLICT") from None

    async def remove_group(self, caller: Caller, group_id: str) -> None:
        """Its contacts stay, in no group. Raises Problem NOT_FOUND."""
        known = self.group(caller, group_id)
        await self._groups.delete(key_of(known.tenant, known.id))

    async def forget(self, tenant_id: str) -> None:
        """Delete all that a tenant has saved, who is about to be deleted. Safe to repeat."""
        for key, _ in self._contacts.items(tenant_id):
            await self._contacts.delete(key)
        for key, _ in self._groups.items(tenant_id):
            await self._groups.delete(key)

    def _known(self, caller: Caller, contact_id: str) -> str:
        key = f"{_account(caller)}.{contact_id}"
        if self._contacts.get(key) is None:
            raise Problem("NOT_FOUND", "There is no such contact.")
        return key


def _account(caller: Caller) -> str:
    if caller.key.device is not None:
        raise Problem("FORBIDDEN", "This key is bound to one device.")
    return caller.tenant.id
