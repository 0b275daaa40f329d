"""The process that holds a real engine: does what the lines on stdin ask for, says what happens on stdout.

It ends when its stdin does. The library's threads would not let it end, so it ends by os._exit.
"""

import asyncio
import os
import sys
import typing
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from kurir.runtime.addresses import AddressGuard
from kurir.session_node.engines.engine import Attachment, Observation, Received, SendOrder, SessionSpec
from kurir.session_node.engines.neonize.engine import NeonizeEngine
from kurir.session_node.engines.neonize.postgres_store import PostgresStore
from kurir.session_node.engines.neonize.sqlite_store import SqliteStore
from tests.support.remote_engine.wire import (
    MAX_LINE_BYTES,
    Answer,
    AttachmentSeen,
    Call,
    EngineSettings,
    Heard,
    Said,
    answer_of,
    bare,
    raw,
)


class EngineProcess:
    """One engine; sessions have the numbers that the other side gave them."""

    def __init__(self, settings: EngineSettings, out: int) -> None:
        store = PostgresStore(settings.store_url) if settings.store_url else SqliteStore(Path(settings.folder))
        self._engine = NeonizeEngine(
            store,
            proxy=settings.proxy,
            proxy_guard=AddressGuard.parse(settings.allowed_proxies, require_https=False),
            ack_timeout_s=settings.ack_timeout_s,
        )
        self._files = Path(settings.files)
        self._out = out
        self._sessions: dict[int, Any] = {}
        self._attachments: dict[int, Attachment] = {}
        self._numbers = count(1)

    async def obey(self, call: Call) -> None:
        try:
            value = await self._do(call)
        except Exception as error:
            self._say(answer_of(call.number, error))
        else:
            self._say(Answer(number=call.number, value=raw(value)))

    async def _do(self, call: Call) -> object:
        match call.method:
            case "open":
                assert call.session is not None
                spec = msgspec.json.decode(call.arguments[0], type=SessionSpec)
                self._sessions[call.session] = await self._engine.open(spec, self._report(call.session))
                return None
            case "fetch":
                return await self._fetch(msgspec.json.decode(call.arguments[0], type=int))
            case "capabilities":
                return sorted(self._engine.capabilities)
        target = self._engine if call.session is None else self._sessions[call.session]
        method = getattr(target, call.method)
        hints = typing.get_type_hints(method)
        hints.pop("return", None)
        arguments = [
            msgspec.json.decode(given, type=hint) for given, hint in zip(call.arguments, hints.values(), strict=False)
        ]
        if arguments and isinstance(arguments[0], SendOrder) and call.media is not None:
            arguments[0] = msgspec.structs.replace(arguments[0], media=call.media)
        return await method(*arguments)

    def _report(self, session: int) -> Callable[[Observation], None]:
        def report(observation: Observation) -> None:
            attachment = None
            if isinstance(observation, Received) and observation.attachment is not None:
                attachment = self._keep(observation.attachment)
                observation = bare(observation)
            kind = type(observation).__name__
            self._say(Heard(session=session, kind=kind, what=raw(observation), attachment=attachment))

        return report

    def _keep(self, attachment: Attachment) -> AttachmentSeen:
        number = next(self._numbers)
        self._attachments[number] = attachment
        return AttachmentSeen(
            number=number, mimetype=attachment.mimetype, size=attachment.size, file_name=attachment.file_name
        )

    async def _fetch(self, number: int) -> str:
        path = self._files / f"fetched-{number}"
        with path.open("wb") as file:
            async for chunk in self._attachments[number].chunks():
                file.write(chunk)
        return str(path)

    def _say(self, said: Said) -> None:
        line = msgspec.json.encode(said) + b"\n"
        while line:
            line = line[os.write(self._out, line) :]


async def main(out: int) -> None:
    process = EngineProcess(msgspec.json.decode(sys.argv[1], type=EngineSettings), out)
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    doing: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = asyncio.create_task(process.obey(msgspec.json.decode(line, type=Call)))
        doing.add(task)
        task.add_done_callback(doing.discard)
    os._exit(0)


if __name__ == "__main__":
    lines = os.dup(1)
    os.dup2(2, 1)  # the library prints
    uvloop.run(main(lines))
