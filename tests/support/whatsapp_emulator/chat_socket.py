"""One connection to the chat host: websocket, frames of 3-byte lengths, Noise, and binary XML on top.

The websocket protocol is the work of the `websockets` library; sending never waits, so stanzas leave in the order in
which they were sent. A client that does not read is cut off.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

from cryptography.exceptions import InvalidTag
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from tests.support.whatsapp_emulator import binary_xml
from tests.support.whatsapp_emulator.dictionaries import Dictionaries
from tests.support.whatsapp_emulator.noise import Client, Handshake, ServerIdentity
from tests.support.whatsapp_emulator.stanza import Stanza

READ_BYTES = 1 << 16
PROLOGUE_BYTES = 4  # "WA", the version, and the version of the dictionaries
LENGTH_BYTES = 3
MAX_FRAME_BYTES = 1 << 24
MAX_UNREAD_BYTES = 64 << 20
OPENING_TIMEOUT_S = 20.0
GOODBYE_S = 1.0  # a client whose socket closes together with a terminal stanza often misses the stanza


class SocketClosed(Exception):
    """The client is gone, or speaks another language."""


class ChatSocket:
    """`open` first, then read `stanzas` and `send`."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        identity: ServerIdentity,
        words: Dictionaries,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._identity = identity
        self._words = words
        self._websocket = ServerProtocol(max_size=MAX_FRAME_BYTES)
        self._received = bytearray()
        self._client: Client | None = None
        self._closing: asyncio.TimerHandle | None = None

    async def open(self) -> Client:
        """Shake hands. Raises SocketClosed, or TimeoutError when the client takes too long."""
        async with asyncio.timeout(OPENING_TIMEOUT_S):
            while len(self._received) < PROLOGUE_BYTES:
                await self._read()
            prologue = bytes(self._received[:PROLOGUE_BYTES])
            del self._received[:PROLOGUE_BYTES]
            handshake = Handshake(prologue, self._identity)
            try:
                self._send_frame(handshake.answer(await self._frame()))
                self._client = handshake.finish(await self._frame())
            except InvalidTag as error:
                raise SocketClosed("the client's handshake is wrong") from error
        return self._client

    async def stanzas(self) -> AsyncIterator[Stanza]:
        """What the client says, until it is gone."""
        assert self._client is not None
        with contextlib.suppress(SocketClosed):
            while True:
                yield binary_xml.decode(self._client.incoming.decrypt(await self._frame()), self._words)

    def send(self, stanza: Stanza) -> bool:
        """Hand a stanza to the network. False when the connection is known to be closed."""
        if self._client is None or self._closing is not None or self._websocket.state is not State.OPEN:
            return False
        if self._writer.transport.is_closing():
            return False
        self._send_frame(self._client.outgoing.encrypt(binary_xml.encode(stanza)))
        if self._writer.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self.abort()
        return True

    def send_last(self, stanza: Stanza) -> None:
        """Send a stanza after which the client shall close; if it does not, close after GOODBYE_S."""
        if self.send(stanza):
            self._closing = asyncio.get_running_loop().call_later(GOODBYE_S, self.close)

    def close(self) -> None:
        """Close as the protocol asks for."""
        if self._websocket.state is State.OPEN:
            self._websocket.send_close(1000)
            self._flush()
        self._writer.close()

    def abort(self) -> None:
        """Cut the connection without a word."""
        self._writer.transport.abort()

    def closed(self) -> None:
        """To be called when reading has ended."""
        if self._closing is not None:
            self._closing.cancel()

    async def _frame(self) -> bytes:
        while True:
            if len(self._received) >= LENGTH_BYTES:
                end = LENGTH_BYTES + int.from_bytes(self._received[:LENGTH_BYTES], "big")
                if len(self._received) >= end:
                    frame = bytes(self._received[LENGTH_BYTES:end])
                    del self._received[:end]
                    return frame
            await self._read()

    async def _read(self) -> None:
        try:
            data = await self._reader.read(READ_BYTES)
        except (ConnectionError, ssl.SSLError) as error:
            raise SocketClosed(str(error)) from error
        if not data:
            raise SocketClosed("the client closed")
        self._websocket.receive_data(data)
        for event in self._websocket.events_received():
            if isinstance(event, Request):
                self._websocket.send_response(self._websocket.accept(event))
            elif isinstance(event, Frame) and event.opcode in (Opcode.BINARY, Opcode.CONT):
                self._received += event.data
        self._flush()
        if self._websocket.state not in (State.OPEN, State.CONNECTING):
            raise SocketClosed("the client closed the websocket")

    def _send_frame(self, payload: bytes) -> None:
        self._websocket.send_binary(len(payload).to_bytes(LENGTH_BYTES, "big") + payload)
        self._flush()

    def _flush(self) -> None:
        for data in self._websocket.data_to_send():
            if data and not self._writer.transport.is_closing():
                self._writer.write(data)
