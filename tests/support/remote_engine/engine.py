"""The engine as a test sees it: the same protocol as any other, done by a process that can be killed.

Answers and observations come in the order in which the process said them.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from kurir.contracts.content import Address, Media, MessageKey
from kurir.session_node.engines.engine import (
    Capability,
    Outgoing,
    Received,
    Report,
    SendOrder,
    Sent,
    SessionSpec,
)
from kurir.session_node.engines.neonize.sending import ACK_TIMEOUT_S
from kurir.session_node.engines.requests import (
    Group,
    KnownContact,
    MemberChange,
    MemberChanged,
    NumberCheck,
    Picture,
    Privacy,
    TypingState,
)
from tests.support.remote_engine.wire import (
    ERRORS,
    MAX_LINE_BYTES,
    OBSERVATIONS,
    Answer,
    AttachmentSeen,
    Call,
    EngineSettings,
    FileMedia,
    Heard,
    Said,
    raw,
)
from tests.support.whatsapp_emulator.process import EmulatorProcess

CALL_TIMEOUT_S = 60.0
END_TIMEOUT_S = 10.0


class RemoteError(Exception):
    """The process raised something that the protocol does not know, or ended; the text says what."""


class RemoteEngine:
    """A neonize engine that trusts the emulator, with all that it keeps and prints in `folder`.

    Another `proxy` than the emulator's must lead to it in the end, and be on loopback.
    """

    name = "neonize"

    def __init__(
        self,
        emulator: EmulatorProcess,
        folder: Path,
        *,
        ack_timeout_s: float = ACK_TIMEOUT_S,
        proxy: str | None = None,
        store_url: str | None = None,
        allowed_proxies: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder / "devices"
        self._files = folder / "files"
        self._log = folder / "engine.log"
        self._emulator = emulator
        self._store_url = store_url
        self._allowed_proxies = allowed_proxies
        self._proxy = proxy or emulator.address.proxy
        self._ack_timeout_s = ack_timeout_s
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[msgspec.Raw]] = {}
        self._reports: dict[int, Report] = {}
        self._open: dict[int, RemoteSession] = {}
        self._numbers = count(1)
        self.capabilities: frozenset[Capability] = frozenset()
        self.is_stopped = False

    # --- the protocol ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the process and the engine in it. Raises what the engine's start raises."""
        self._files.mkdir(parents=True, exist_ok=True)
        self.is_stopped = False
        settings = EngineSettings(
            folder=str(self.folder),
            files=str(self._files),
            proxy=self._proxy,
            store_url=self._store_url,
            allowed_proxies=self._allowed_proxies,
            ack_timeout_s=self._ack_timeout_s,
        )
        program = [sys.executable, "-m", "tests.support.remote_engine.process", msgspec.json.encode(settings).decode()]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._emulator.trusting(*program),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=self._emulator.cwd,
                limit=MAX_LINE_BYTES,
            )
        assert self._process.stdout is not None
        self._reading = asyncio.create_task(self._read(self._process.stdout))
        await self.call(None, "start")
        self.capabilities = await self.call(frozenset[Capability], "capabilities")

    async def open(self, spec: SessionSpec, report: Report) -> "RemoteSession":
        number = next(self._numbers)
        self._reports[number] = report
        session = self._open[number] = RemoteSession(self, number, spec)
        await self.call(None, "open", spec, session=number)
        return session

    async def forget(self, spec: SessionSpec) -> None:
        await self.call(None, "forget", spec)

    async def stop(self) -> None:
        """Stop the engine, and leave the process to `end`: sessions are to be asked still."""
        self.is_stopped = True
        await self.call(None, "stop")

    # --- the process -----------------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def kill(self) -> None:
        """End the process as a crash would."""
        assert self._process is not None
        self._process.kill()
        await self.end()

    async def end(self) -> None:
        """End the process without a word to the engine. Idempotent."""
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), END_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._reading is not None:
            await self._reading
        self._open.clear()

    async def close_sessions(self) -> None:
        """Close what is still open, so that the process can be used again."""
        await asyncio.gather(*(session.close() for session in list(self._open.values())))

    def has_store(self, spec: SessionSpec) -> bool:
        """True when there is a device store, whatever is in it."""
        return (self.folder / spec.tenant / f"{spec.device}.db").exists()

    async def call(
        self, kind: Any, method: str, *arguments: object, session: int | None = None, media: FileMedia | None = None
    ) -> Any:
        """Call a method in the process; its answer as `kind`. Raises what it raises, or RemoteError."""
        if self._process is None or self._process.stdin is None:
            raise RemoteError("the process has ended")
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        call = Call(number=number, method=method, session=session, arguments=tuple(map(raw, arguments)), media=media)
        self._process.stdin.write(msgspec.json.encode(call) + b"\n")
        return msgspec.json.decode(await asyncio.wait_for(answer, CALL_TIMEOUT_S), type=kind)

    def write_media(self, data: bytes, media: Media) -> FileMedia:
        path = self._files / f"sent-{next(self._numbers)}"
        path.write_bytes(data)
        return FileMedia(media=media, path=str(path))

    def closed(self, number: int) -> None:
        self._open.pop(number, None)

    async def _read(self, said_by: asyncio.StreamReader) -> None:
        while line := await said_by.readline():
            said = msgspec.json.decode(line, type=Said)
            if isinstance(said, Heard):
                self._hear(said)
            else:
                self._answered(said)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(RemoteError(f"the process has ended; see {self._log}"))
        self._waiting.clear()

    def _answered(self, said: Answer) -> None:
        answer = self._waiting.pop(said.number)
        if answer.done():
            return
        if said.error is None:
            answer.set_result(said.value)
        else:
            answer.set_exception(ERRORS.get(said.error, RemoteError)(*said.details))

    def _hear(self, heard: Heard) -> None:
        observation = msgspec.json.decode(heard.what, type=OBSERVATIONS[heard.kind])
        if isinstance(observation, Received) and heard.attachment is not None:
            attachment = RemoteAttachment(self, heard.attachment)
            observation = msgspec.structs.replace(observation, attachment=attachment)
        self._reports[heard.session](observation)


class RemoteSession:
    """One session in the process."""

    def __init__(self, engine: RemoteEngine, number: int, spec: SessionSpec) -> None:
        self.spec = spec
        self._engine = engine
        self._number = number

    async def send(self, order: SendOrder) -> Sent:
        media = None if order.media is None else await self._file_of(order.media)
        order = msgspec.structs.replace(order, media=None)
        sent: Sent = await self._call(Sent, "send", order, media=media)
        return sent

    async def logout(self) -> None:
        await self._call(None, "logout")

    async def close(self) -> None:
        if self._engine.is_running:
            await self._call(None, "close")
        self._engine.closed(self._number)

    async def show_online(self, online: bool) -> None:
        await self._call(None, "show_online", online)

    async def show_typing(self, chat: str, state: TypingState) -> None:
        await self._call(None, "show_typing", chat, state)

    async def watch_presence(self, jid: str) -> None:
        await self._call(None, "watch_presence", jid)

    async def mark_read(self, keys: tuple[MessageKey, ...], played: bool = False) -> None:
        await self._call(None, "mark_read", keys, played)

    async def check_numbers(self, phones: tuple[str, ...]) -> tuple[NumberCheck, ...]:
        checks: tuple[NumberCheck, ...] = await self._call(tuple[NumberCheck, ...], "check_numbers", phones)
        return checks

    async def profile_picture(self, jid: str) -> Picture | None:
        picture: Picture | None = await self._call(Picture | None, "profile_picture", jid)
        return picture

    async def contacts(self) -> tuple[KnownContact, ...]:
        known: tuple[KnownContact, ...] = await self._call(tuple[KnownContact, ...], "contacts")
        return known

    async def about(self, jid: str) -> str | None:
        about: str | None = await self._call(str | None, "about", jid)
        return about

    async def set_name(self, name: str) -> None:
        await self._call(None, "set_name", name)

    async def set_about(self, about: str) -> None:
        await self._call(None, "set_about", about)

    async def set_picture(self, picture: bytes) -> None:
        await self._call(None, "set_picture", picture)

    async def privacy(self) -> Privacy:
        privacy: Privacy = await self._call(Privacy, "privacy")
        return privacy

    async def set_privacy(self, privacy: Privacy) -> Privacy:
        changed: Privacy = await self._call(Privacy, "set_privacy", privacy)
        return changed

    async def blocked(self) -> tuple[Address, ...]:
        blocked: tuple[Address, ...] = await self._call(tuple[Address, ...], "blocked")
        return blocked

    async def set_blocked(self, jid: str, blocked: bool) -> None:
        await self._call(None, "set_blocked", jid, blocked)

    async def reject_call(self, caller: str, call_id: str) -> None:
        await self._call(None, "reject_call", caller, call_id)

    async def groups(self) -> tuple[Group, ...]:
        groups: tuple[Group, ...] = await self._call(tuple[Group, ...], "groups")
        return groups

    async def group(self, jid: str) -> Group:
        group: Group = await self._call(Group, "group", jid)
        return group

    async def create_group(self, subject: str, members: tuple[str, ...]) -> Group:
        group: Group = await self._call(Group, "create_group", subject, members)
        return group

    async def change_members(
        self, jid: str, change: MemberChange, members: tuple[str, ...]
    ) -> tuple[MemberChanged, ...]:
        kind = tuple[MemberChanged, ...]
        changed: tuple[MemberChanged, ...] = await self._call(kind, "change_members", jid, change, members)
        return changed

    async def invite_link(self, jid: str, renew: bool = False) -> str:
        return str(await self._call(str, "invite_link", jid, renew))

    async def set_subject(self, jid: str, subject: str) -> None:
        await self._call(None, "set_subject", jid, subject)

    async def set_description(self, jid: str, description: str) -> None:
        await self._call(None, "set_description", jid, description)

    async def set_group_rights(self, jid: str, is_announce: bool | None, is_locked: bool | None) -> None:
        await self._call(None, "set_group_rights", jid, is_announce, is_locked)

    async def set_disappearing(self, jid: str, seconds: int) -> None:
        await self._call(None, "set_disappearing", jid, seconds)

    async def set_group_picture(self, jid: str, picture: bytes) -> None:
        await self._call(None, "set_group_picture", jid, picture)

    async def invitation(self, code: str) -> Group:
        group: Group = await self._call(Group, "invitation", code)
        return group

    async def leave_group(self, jid: str) -> None:
        await self._call(None, "leave_group", jid)

    async def join_group(self, code: str) -> str:
        return str(await self._call(str, "join_group", code))

    async def _file_of(self, outgoing: Outgoing) -> FileMedia:
        data = b"".join([chunk async for chunk in outgoing.chunks()])
        return self._engine.write_media(data, outgoing.media)

    async def _call(self, kind: Any, method: str, *arguments: object, media: FileMedia | None = None) -> Any:
        return await self._engine.call(kind, method, *arguments, session=self._number, media=media)


class RemoteAttachment:
    """Media of a received message, fetched by the process into a file."""

    def __init__(self, engine: RemoteEngine, seen: AttachmentSeen) -> None:
        self.mimetype, self.size, self.file_name = seen.mimetype, seen.size, seen.file_name
        self._engine = engine
        self._number = seen.number

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises MediaFailed."""
        yield Path(await self._engine.call(str, "fetch", self._number)).read_bytes()
