"""A process with real neonize clients, told by JSON lines what to do: the other side of the emulator's own tests.

It knows neonize alone and nothing of Kurir. Lines in: {"n", "client", "do", …}. Lines out: {"n", "answer"} or
{"n", "error"} for each of them, and {"client", "event", "data"} for what clients report.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from neonize._binder import ProxySettings
from neonize.aioze import events
from neonize.aioze.client import NewAClient
from neonize.utils.enum import ChatPresence, ChatPresenceMedia, Presence, ReceiptType
from neonize.utils.jid import Jid2String, build_jid

REPORTED = (
    "ConnectedEv",
    "PairStatusEv",
    "DisconnectedEv",
    "StreamReplacedEv",
    "LoggedOutEv",
    "ConnectFailureEv",
    "TemporaryBanEv",
    "ClientOutdatedEv",
    "StreamErrorEv",
    "MessageEv",
    "ReceiptEv",
    "ChatPresenceEv",
    "GroupInfoEv",
    "JoinedGroupEv",
    "OfflineSyncCompletedEv",
    "CallOfferEv",
)
THREADS = 128
QR = "QR"

Doing = Callable[..., Awaitable[Any]]


class Clients:
    """The clients of this process, by name. The names are never used twice: the library keys its state by them."""

    def __init__(self, proxy: str) -> None:
        self._proxy = proxy
        self._clients: dict[str, Any] = {}
        self._messages: dict[str, Any] = {}
        self._opened = 0

    async def open(self, client: str, database: str, proxy: bool = True) -> None:
        """Log in from the database, or pair when there is no device in it."""
        self._opened += 1
        opened = NewAClient(database, uuid=f"{client}-{self._opened}")
        # Its finalizer would stop whatever has this name at some later moment.
        opened._stop_finalizer.detach()
        for name in REPORTED:
            opened.event(getattr(events, name))(self._reporting(client, name))

        async def on_qr(_: Any, text: bytes) -> None:
            say(client=client, event=QR, data=text.decode())

        opened.event.qr(on_qr)
        self._clients[client] = opened
        task = await opened.connect(ProxySettings(self._proxy) if proxy else None)
        task.add_done_callback(lambda task: self._over(client, task))

    async def stop(self, client: str) -> None:
        await self._clients.pop(client).stop()

    async def pair_phone(self, client: str, phone: str) -> str:
        return str(await self._clients[client].PairPhone(phone, True))

    async def send_text(self, client: str, to: str, text: str) -> dict[str, Any]:
        return _sent(await self._clients[client].send_message(_jid(to), text))

    async def send_image(self, client: str, to: str, path: str, caption: str) -> dict[str, Any]:
        return _sent(await self._clients[client].send_image(_jid(to), path, caption=caption))

    async def download(self, client: str, message: str, path: str) -> None:
        """The media of a received message, by its id."""
        received = self._messages[message]
        Path(path).write_bytes(await self._clients[client].download_any(received.Message))

    async def mark_read(self, client: str, message: str) -> None:
        source = self._messages[message].Info.MessageSource
        await self._clients[client].mark_read(message, chat=source.Chat, sender=source.Sender, receipt=ReceiptType.READ)

    async def available(self, client: str) -> None:
        await self._clients[client].send_presence(Presence.AVAILABLE)

    async def typing(self, client: str, to: str) -> None:
        media = ChatPresenceMedia.CHAT_PRESENCE_MEDIA_TEXT
        await self._clients[client].send_chat_presence(_jid(to), ChatPresence.CHAT_PRESENCE_COMPOSING, media)

    async def create_group(self, client: str, subject: str, members: list[str]) -> str:
        group = await self._clients[client].create_group(subject, [_jid(member) for member in members])
        return str(Jid2String(group.JID))

    async def groups(self, client: str) -> dict[str, str]:
        return {Jid2String(g.JID): g.GroupName.Name for g in await self._clients[client].get_joined_groups()}

    async def group(self, client: str, jid: str) -> dict[str, Any]:
        group = await self._clients[client].get_group_info(_jid(jid))
        return dict(json_format.MessageToDict(group))

    async def rename_group(self, client: str, jid: str, subject: str) -> None:
        await self._clients[client].set_group_name(_jid(jid), subject)

    async def invite_link(self, client: str, jid: str) -> str:
        return str(await self._clients[client].get_group_invite_link(_jid(jid)))

    async def leave_group(self, client: str, jid: str) -> None:
        await self._clients[client].leave_group(_jid(jid))

    async def on_whatsapp(self, client: str, *, numbers: list[str]) -> dict[str, bool]:
        found = await self._clients[client].is_on_whatsapp(*numbers)
        return {entry.Query.lstrip("+"): entry.IsIn for entry in found}

    async def picture(self, client: str, of: str) -> str:
        return str((await self._clients[client].get_profile_picture(_jid(of))).URL)

    async def logout(self, client: str) -> None:
        await self._clients[client].logout()

    def _reporting(self, client: str, name: str) -> Callable[[Any, Any], Awaitable[None]]:
        async def report(_: Any, event: Any) -> None:
            if name == "MessageEv":
                self._messages[event.Info.ID] = event
            say(client=client, event=name, data=json_format.MessageToDict(event))

        return report

    def _over(self, client: str, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        say(client=client, event="over", data=None if error is None else f"{type(error).__name__}: {error}")


def _jid(text: str) -> Any:
    user, _, server = text.partition("@")
    return build_jid(user, server or "s.whatsapp.net")


def _sent(answer: Any) -> dict[str, Any]:
    return {"id": answer.ID, "at": answer.Timestamp}


def say(**line: Any) -> None:
    """stdout is for the lines; what the library prints goes to stderr."""
    os.write(LINES, json.dumps(line).encode() + b"\n")


async def main() -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS))
    clients = Clients(sys.argv[1])
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    doing: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = loop.create_task(_do(clients, json.loads(line)))
        doing.add(task)
        task.add_done_callback(doing.discard)
    # The library's threads do not end by themselves.
    os._exit(0)


async def _do(clients: Clients, order: dict[str, Any]) -> None:
    number = order.pop("n")
    try:
        answer = await getattr(clients, order.pop("do"))(**order)
    except Exception as error:
        say(n=number, error=f"{type(error).__name__}: {error}")
    else:
        say(n=number, answer=answer)


if __name__ == "__main__":
    LINES = os.dup(1)
    os.dup2(2, 1)
    asyncio.run(main())
