"""WhatsApp's server as one object: everything that exists in it, and the life of a connection.

Emulated is what the neonize library needs; that the client accepts it does not show how the real server behaves.
All state is in memory and ends with the process.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag

from tests.support.whatsapp_emulator import dictionaries, http, tls
from tests.support.whatsapp_emulator.accounts import Account, Device, Directory, picture_id
from tests.support.whatsapp_emulator.chat_socket import ChatSocket, SocketClosed
from tests.support.whatsapp_emulator.connection import Connection, conflict
from tests.support.whatsapp_emulator.faults import Faults
from tests.support.whatsapp_emulator.front_door import CHAT_HOST, MEDIA_HOST, FrontDoor
from tests.support.whatsapp_emulator.groups import Groups
from tests.support.whatsapp_emulator.journal import Journal
from tests.support.whatsapp_emulator.keys import KeyPair
from tests.support.whatsapp_emulator.media_host import MediaHost
from tests.support.whatsapp_emulator.moments import Moments
from tests.support.whatsapp_emulator.noise import ServerIdentity
from tests.support.whatsapp_emulator.pairing import Pairing
from tests.support.whatsapp_emulator.phones import Phones
from tests.support.whatsapp_emulator.post import Post, now
from tests.support.whatsapp_emulator.queries import Queries
from tests.support.whatsapp_emulator.relay import Relay
from tests.support.whatsapp_emulator.stanza import Stanza, Value

log = logging.getLogger(__name__)

ROOT_FILE = "root.public"
"""The public key that clients must take for the root of the server's certificates: 32 bytes."""


class Emulator:
    """Has no sockets of its own: whoever listens passes connections to `front_door.let_in`.

    `folder` receives what clients must trust: see tls.authority_file and ROOT_FILE.
    """

    def __init__(self, folder: Path) -> None:
        root = KeyPair()
        (folder / ROOT_FILE).write_bytes(root.public)
        self._identity = ServerIdentity(root)
        self._words = dictionaries.read()
        self.faults = Faults()
        self.journal = Journal()
        self.directory = Directory()
        self.media = MediaHost(self.journal, self.faults)
        self._post = Post(self.journal)
        self.groups = Groups(self.directory, self._post)
        self.phones = Phones(self.directory, self._post, self.journal, self.media, self.groups)
        self.pairing = Pairing(self.directory, self._post, self.journal)
        self.moments = Moments(self.directory, self._post, self.journal, self.groups)
        self._relay = Relay(self.directory, self._post, self.journal, self.groups, self.phones, self.faults)
        self._queries = Queries(
            self.directory,
            self._post,
            self.journal,
            self.media,
            self.groups,
            self.phones,
            self.pairing,
            self.faults,
        )
        self._last_connection = 0
        self._handlers: dict[str, Callable[[Connection, Stanza], None]] = {
            "iq": self._queries.answer,
            "message": self._relay.message,
            "receipt": self._relay.receipt,
            "chatstate": self.moments.chat_state,
            "presence": self.moments.presence,
            "call": self.moments.call,
            "ack": self._relay.ack,
            "ib": _take,
        }
        self.front_door = FrontDoor(
            tls.server_context(folder, (CHAT_HOST, MEDIA_HOST)),
            {CHAT_HOST: self._chat, MEDIA_HOST: self._media_host},
            refused=lambda target: self.journal.record("proxy.refused", target=target),
        )

    def stop(self) -> None:
        """Cut all connections and forget what was planned."""
        self.front_door.shut()
        self.phones.stop()

    def set_faults(self, changes: dict[str, Any]) -> None:
        """Change some knobs. Raises msgspec.ValidationError."""
        merged = msgspec.convert(msgspec.to_builtins(self.faults) | changes, Faults)
        for name in Faults.__struct_fields__:
            setattr(self.faults, name, getattr(merged, name))
        if merged.is_down:
            self.front_door.shut()
        self.front_door.is_open = not merged.is_down

    def online(self, device: Device) -> Connection:
        """The device's connection. Raises KeyError when it is offline."""
        if not isinstance(device.line, Connection):
            raise KeyError(f"{device.name} is offline")
        return device.line

    def remove(self, device: Device) -> None:
        """The owner unlinks the device on the phone."""
        device.account.devices.pop(device.number, None)
        self.journal.record("device.removed", device=device.name, by="phone")
        if isinstance(device.line, Connection):
            device.line.end(conflict("device_removed", code="401"), "removed")

    def change_picture(self, account: Account, picture: bytes | None) -> None:
        """The owner sets another profile picture, or none; who is connected hears of it."""
        account.picture = picture
        said: dict[str, Value] = {"jid": account.lid, "author": account.lid, "hash": "emulator"}
        change = Stanza("delete", said) if picture is None else Stanza("set", said | {"id": picture_id(picture)})
        attributes: dict[str, Value] = {"from": account.lid, "type": "picture", "t": now()}
        for device in self.directory.devices():
            if device.account is not account:
                self._post.hand_over(device, Stanza("notification", attributes | {"id": self._post.new_id()}, [change]))

    # --- connections ------------------------------------------------------------------------------------------------

    async def _media_host(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await http.serve(reader, writer, self.media.answer)

    async def _chat(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._last_connection += 1
        number = self._last_connection
        peer = writer.get_extra_info("peername")
        self.journal.record("connection.opened", connection=number, port=peer[1] if peer else None)
        socket = ChatSocket(reader, writer, self._identity, self._words)
        connection: Connection | None = None
        try:
            connection = Connection(number, socket, await socket.open())
            self._admit(connection)
            async for stanza in socket.stanzas():
                self._handle(connection, stanza)
        except (SocketClosed, TimeoutError, InvalidTag, ValueError) as error:
            log.info("connection %d: %r", number, error)
        finally:
            socket.closed()
            self._gone(number, connection)

    def _admit(self, connection: Connection) -> None:
        """Who says a number wants to log in, who says none wants to be linked."""
        payload = connection.client.payload
        if not payload.username:
            self.pairing.offer(connection, self.faults.qr_refs)
            return
        phone = str(payload.username)
        account = self.directory.accounts.get(phone)
        device = None if account is None else account.devices.get(payload.device)
        failure: dict[str, str] | None = self.faults.login_failure.get(phone)
        if failure is None and (device is None or device.noise_key != connection.client.static_key):
            failure = {"reason": "401"}
        if failure is not None:
            self.journal.record(
                "connection.refused", connection=connection.id, device=f"{phone}:{payload.device}", **failure
            )
            attributes: dict[str, Value] = {"location": "emulator", **failure}
            connection.end(Stanza("failure", attributes), "refused")
            return
        assert device is not None
        self._log_in(connection, device)

    def _log_in(self, connection: Connection, device: Device) -> None:
        former = device.line
        device.line, connection.device = connection, device
        self.journal.record(
            "connection.logged_in",
            connection=connection.id,
            device=device.name,
            replaces=None if former is None else former.id,
        )
        if isinstance(former, Connection):
            former.end(conflict("replaced"), "replaced")
        attributes: dict[str, Value] = {
            "t": now(),
            "lid": device.lid,
            "display_name": device.account.name,
            "location": "emulator",
            "creation": device.account.created_at,
        }
        connection.send(Stanza("success", attributes))
        self._post.deliver_queue(device)

    def _handle(self, connection: Connection, stanza: Stanza) -> None:
        log.debug("connection %d says %s", connection.id, stanza)
        handler = self._handlers.get(stanza.tag)
        if handler is None:
            self.journal.record("stanza.unknown", connection=connection.id, tag=stanza.tag)
            return
        try:
            handler(connection, stanza)
        except (KeyError, IndexError, PermissionError) as error:
            self.journal.record("stanza.malformed", connection=connection.id, stanza=str(stanza), why=repr(error))

    def _gone(self, number: int, connection: Connection | None) -> None:
        device = None if connection is None else connection.device
        self.journal.record(
            "connection.ended",
            connection=number,
            device=None if device is None else device.name,
            cause="client" if connection is None else connection.end_cause,
        )
        if connection is not None:
            self.pairing.withdraw(connection)
        if device is not None and device.line is connection:
            device.line = None


def _take(connection: Connection, stanza: Stanza) -> None:
    """Nothing follows from it."""
