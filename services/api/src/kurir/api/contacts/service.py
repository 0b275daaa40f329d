"""What tenants ask of a device about people."""

from kurir.api.auth import Caller
from kurir.api.devices.service import Devices
from kurir.api.people import chat_in, person_in, phone_in
from kurir.api.problems import Problem
from kurir.api.questions import Questions
from kurir.contracts import queries
from kurir.contracts.content import Address
from kurir.contracts.people import NumberCheck, Picture
from kurir.contracts.queries import ContactPage


class Contacts:
    """Everything here raises Problem as Devices.get and Questions.ask do, and about the field that is wrong."""

    def __init__(self, devices: Devices, questions: Questions) -> None:
        self._devices = devices
        self._questions = questions

    async def page(self, caller: Caller, device_id: str, *, limit: int, cursor: str | None) -> ContactPage:
        """Who is in the account's address book or has written, by id."""
        device = self._devices.get(caller, device_id)
        after = chat_in(cursor, caller.tenant.country, "cursor") if cursor else None
        return await self._questions.ask(
            queries.ListContacts(tenant=device.tenant, device=device.id, after=after, limit=limit)
        )

    async def about(self, caller: Caller, device_id: str, contact: str) -> str | None:
        """The about text of a person; None when there is none, or none to see."""
        device = self._devices.get(caller, device_id)
        jid = person_in(contact, caller.tenant.country, "contactId")
        return (await self._questions.ask(queries.ShowAbout(tenant=device.tenant, device=device.id, jid=jid))).about

    async def blocked(self, caller: Caller, device_id: str) -> tuple[Address, ...]:
        device = self._devices.get(caller, device_id)
        return (await self._questions.ask(queries.ListBlocked(tenant=device.tenant, device=device.id))).people

    async def set_blocked(self, caller: Caller, device_id: str, contact: str, *, blocked: bool) -> None:
        device = self._devices.get(caller, device_id)
        jid = person_in(contact, caller.tenant.country, "contactId")
        await self._questions.ask(queries.SetBlocked(tenant=device.tenant, device=device.id, jid=jid, blocked=blocked))

    async def check_numbers(self, caller: Caller, device_id: str, numbers: tuple[str, ...]) -> list[NumberCheck]:
        """In the order asked. WhatsApp is asked at most once for each number."""
        device = self._devices.get(caller, device_id)
        phones = [phone_in(text, caller.tenant.country, f"numbers[{n}]") for n, text in enumerate(numbers)]
        question = queries.CheckNumbers(tenant=device.tenant, device=device.id, phones=tuple(dict.fromkeys(phones)))
        checks = {check.phone: check for check in (await self._questions.ask(question)).checks}
        return [checks[phone] for phone in phones]

    async def picture(self, caller: Caller, device_id: str, contact: str) -> Picture:
        """Raises Problem PICTURE_NOT_FOUND."""
        device = self._devices.get(caller, device_id)
        jid = chat_in(contact, caller.tenant.country, "contactId")
        question = queries.ShowPicture(tenant=device.tenant, device=device.id, jid=jid)
        picture = (await self._questions.ask(question)).picture
        if picture is None:
            raise Problem("PICTURE_NOT_FOUND")
        return picture
