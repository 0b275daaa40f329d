"""What a session has learned of which hidden id (LID) is which phone number.

WhatsApp addresses by hidden id and tells the number only in some stanzas: messages do, receipts do not.
"""

from collections import OrderedDict

import msgspec

from kurir.contracts.content import Address

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
            self._learn(address.pn, address.lid)
            return address
        if address.lid is not None and address.lid in self._number_of:
            return msgspec.structs.replace(address, pn=self._number_of[address.lid])
        if address.pn is not None and address.pn in self._hidden_of:
            return msgspec.structs.replace(address, lid=self._hidden_of[address.pn])
        return address

    def _learn(self, number: str, hidden: str) -> None:
        self._number_of[hidden] = number
        self._number_of.move_to_end(hidden)
        self._hidden_of[number] = hidden
        if len(self._number_of) > self._limit:
            _, forgotten = self._number_of.popitem(last=False)
            self._hidden_of.pop(forgotten, None)
