"""What one session changes of its own account: what it shows of itself, to whom, who is blocked, and whose call is
rejected.

The library cannot take the account's picture away: what it sends for an empty picture is an empty picture.
"""

from collections.abc import Awaitable, Callable

from msgspec import structs

from kurir.contracts.content import Address
from kurir.session_node.engines.neonize.address_book import AddressBook
from kurir.session_node.engines.neonize.arguments import done, jid_of, portrait_of, understood
from kurir.session_node.engines.neonize.media_forms import MediaForms
from kurir.session_node.engines.requests import Privacy

Ask = Callable[..., Awaitable[bytes]]
NumberOf = Callable[[str], Awaitable[str | None]]


class Account:
    """`ask` calls a function of the library, as Requests.ask does; `number_of` gives a hidden id's number, as JIDs, or
    raises TimeoutError.
    """

    def __init__(self, ask: Ask, people: AddressBook, number_of: NumberOf, forms: MediaForms) -> None:
        self._ask = ask
        self._number_of = number_of
        self._people = people
        self._forms = forms

    async def about(self, jid: str) -> str | None:
        from kurir.session_node.engines.neonize import to_whatsapp
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        asked = understood(to_whatsapp.jids, (jid,))
        return answers.about(await self._ask("GetUserInfo", asked, len(asked)))

    async def set_name(self, name: str) -> None:
        done(await self._ask("SetPushName", name.encode()))

    async def set_about(self, about: str) -> None:
        done(await self._ask("SetStatusMessage", about.encode()))

    async def set_picture(self, picture: bytes) -> None:
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        portrait = await portrait_of(self._forms, picture)
        answers.require_picture_set(await self._ask("SetProfilePhoto", portrait, len(portrait)))

    # --- privacy and calls --------------------------------------------------------------------------------------------

    async def privacy(self) -> Privacy:
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        return answers.privacy(await self._ask("GetPrivacySettings"))

    async def set_privacy(self, privacy: Privacy) -> Privacy:
        from kurir.session_node.engines.neonize import to_whatsapp
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        for name, value in to_whatsapp.privacy_changes(privacy):
            answers.require_privacy_set(await self._ask("SetPrivacySetting", name, value))
        return await self.privacy()

    async def reject_call(self, caller: str, call_id: str) -> None:
        done(await self._ask("RejectCall", *jid_of(caller), call_id.encode()))

    async def blocked(self) -> tuple[Address, ...]:
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        listed = answers.blocked(await self._ask("GetBlocklist"))
        return tuple([await self._numbered(self._people.complete(one)) for one in listed])

    async def _numbered(self, address: Address) -> Address:
        """The list has hidden ids; the library has kept the numbers of those whom it has met."""
        if address.pn is not None or address.lid is None:
            return address
        try:
            number = await self._number_of(address.lid)
        except TimeoutError:  # one number is not worth the list
            return address
        return address if number is None else structs.replace(address, pn=number)

    async def set_blocked(self, jid: str, blocked: bool) -> None:
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        answers.blocked(await self._ask("UpdateBlocklist", *jid_of(jid), b"block" if blocked else b"unblock"))
