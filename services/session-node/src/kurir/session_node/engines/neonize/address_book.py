"""What a session has learned of which hidden id (LID) is which phone number.

WhatsApp addresses by hidden id and tells the number only in some stanzas: messages do, receipts do not.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from kurir.contracts.content import Address

Said = TypeVar("Said", bound=Struct)

LIMIT = 4096


class AddressBook:
    """The most recently met people of one session."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._number_of: OrderedDict[str, str] = OrderedDict()
        self._hidden_of: dict[str, str] = {}

    def complete(self, address: Address) -> Address:
        """The address with its other form, if that is known; learns from addresses that have both."""
        if address.pn is not None and address.lid is not None:
            self.learn(address.pn, address.lid)
            return address
        if address.lid is not None and address.lid in self._number_of:
            return msgspec.structs.replace(address, pn=self._number_of[address.lid])
        if address.pn is not None and address.pn in self._hidden_of:
            return msgspec.structs.replace(address, lid=self._hidden_of[address.pn])
        return address

    def complete_all(self, said: Said) -> Said:
        """The struct with every address in it completed."""
        return msgspec.structs.replace(
            said, **{name: self._completed(getattr(said, name)) for name in _addressed(said)}
        )

    def unknown_in(self, said: Struct) -> list[str]:
        """The hidden ids in the struct of people whose number is not known."""
        found = (address for name in _addressed(said) for address in _addresses_in(getattr(said, name)))
        return list(dict.fromkeys(a.lid for a in map(self.complete, found) if a.lid is not None and a.pn is None))

    def _completed(self, value: Any) -> Any:
        if isinstance(value, Address):
            return self.complete(value)
        if isinstance(value, tuple):
            return tuple(map(self._completed, value))
        return self.complete_all(value) if isinstance(value, Struct) else value

    def learn(self, number: str, hidden: str) -> None:
        """Remember who is who; both are JIDs."""
        self._number_of[hidden] = number
        self._number_of.move_to_end(hidden)
        self._hidden_of[number] = hidden
        if len(self._number_of) > self._limit:
            _, forgotten = self._number_of.popitem(last=False)
            self._hidden_of.pop(forgotten, None)


def _addressed(said: Struct) -> list[str]:
    """The fields of a struct that name people."""
    return [name for name in said.__struct_fields__ if isinstance(getattr(said, name), Address | tuple)]


def _addresses_in(value: Any) -> Iterator[Address]:
    if isinstance(value, Address):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _addresses_in(each)
    elif isinstance(value, Struct):
        for name in _addressed(value):
            yield from _addresses_in(getattr(value, name))
