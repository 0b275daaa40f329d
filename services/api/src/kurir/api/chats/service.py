"""What tenants have a device show in chats, and watch."""

from kurir.api.auth import Caller
from kurir.api.chats.schemas import ReadMessages
from kurir.api.devices.service import Devices
from kurir.api.people import GROUP_SERVER, chat_in, person_in
from kurir.api.problems import Problem
from kurir.api.questions import Questions
from kurir.contracts import queries
from kurir.contracts.content import MessageKey
from kurir.contracts.people import Label, TypingState


class Chats:
    """Everything here raises Problem as Devices.get and Questions.ask do, and about the field that is wrong."""

    def __init__(self, devices: Devices, questions: Questions) -> None:
        self._devices = devices
        self._questions = questions

    async def show_presence(self, caller: Caller, device_id: str, *, online: bool) -> None:
        device = self._devices.get(caller, device_id)
        await self._questions.ask(queries.ShowPresence(tenant=device.tenant, device=device.id, online=online))

    async def show_typing(self, caller: Caller, device_id: str, chat: str, state: TypingState) -> None:
        device = self._devices.get(caller, device_id)
        jid = chat_in(chat, caller.tenant.country, "chatId")
        await self._questions.ask(queries.ShowTyping(tenant=device.tenant, device=device.id, chat=jid, state=state))

    async def watch_presence(self, caller: Caller, device_id: str, chat: str) -> None:
        device = self._devices.get(caller, device_id)
        jid = person_in(chat, caller.tenant.country, "chatId")
        await self._questions.ask(queries.WatchPresence(tenant=device.tenant, device=device.id, jid=jid))

    async def archive(self, caller: Caller, device_id: str, chat: str, *, archived: bool) -> None:
        device = self._devices.get(caller, device_id)
        jid = chat_in(chat, caller.tenant.country, "chatId")
        await self._questions.ask(
            queries.ArchiveChat(tenant=device.tenant, device=device.id, chat=jid, archived=archived)
        )

    async def mark_unread(self, caller: Caller, device_id: str, chat: str) -> None:
        device = self._devices.get(caller, device_id)
        jid = chat_in(chat, caller.tenant.country, "chatId")
        await self._questions.ask(queries.MarkUnread(tenant=device.tenant, device=device.id, chat=jid))

    async def labels(self, caller: Caller, device_id: str) -> tuple[Label, ...]:
        device = self._devices.get(caller, device_id)
        return (await self._questions.ask(queries.ListLabels(tenant=device.tenant, device=device.id))).labels

    async def set_label(self, caller: Caller, device_id: str, chat: str, label: str, *, labeled: bool) -> None:
        device = self._devices.get(caller, device_id)
        jid = chat_in(chat, caller.tenant.country, "chatId")
        await self._questions.ask(
            queries.LabelChat(tenant=device.tenant, device=device.id, chat=jid, label=label, labeled=labeled)
        )

    async def mark_read(self, caller: Caller, device_id: str, chat: str, read: ReadMessages) -> None:
        device = self._devices.get(caller, device_id)
        country = caller.tenant.country
        jid = chat_in(chat, country, "chatId")
        participant = person_in(read.participant, country, "participant") if read.participant else None
        if participant is None and jid.endswith(f"@{GROUP_SERVER}"):
            raise Problem("VALIDATION_ERROR", "In a group, say who wrote the messages.", field="participant")
        keys = tuple(MessageKey(chat=jid, whatsapp_id=one, participant=participant) for one in read.message_ids)
        await self._questions.ask(
            queries.MarkRead(tenant=device.tenant, device=device.id, keys=keys, played=read.played)
        )
