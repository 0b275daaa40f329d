"""One client's connection to the chat host, from its handshake to its end."""

from tests.support.whatsapp_emulator.accounts import Device
from tests.support.whatsapp_emulator.chat_socket import ChatSocket
from tests.support.whatsapp_emulator.noise import Client
from tests.support.whatsapp_emulator.stanza import Stanza, parent


class Connection:
    """`device` is set from login on. `end_cause` is "client" unless the emulator ended the connection."""

    def __init__(self, number: int, socket: ChatSocket, client: Client) -> None:
        self.id = number
        self.client = client
        self.device: Device | None = None
        self.end_cause = "client"
        self._socket = socket

    def send(self, stanza: Stanza) -> bool:
        """False when the connection is known to be closed."""
        return self._socket.send(stanza)

    @property
    def owner(self) -> Device:
        """The device that logged in. Raises PermissionError before."""
        if self.device is None:
            raise PermissionError("this needs a login")
        return self.device

    def drop(self, cause: str = "dropped") -> None:
        """Cut it without a word."""
        self.end_cause = cause
        self._socket.abort()

    def close(self) -> None:
        """Close it as a server does that restarts."""
        self.end_cause = "closed"
        self._socket.close()

    def end(self, stanza: Stanza, cause: str) -> None:
        """Say why, let the client act on it, and close."""
        self.end_cause = cause
        self._socket.send_last(stanza)


def conflict(kind: str, **attributes: str) -> Stanza:
    """The stream error "replaced" (by another connection) or "device_removed"."""
    return parent("stream:error", [Stanza("conflict", {"type": kind})], **attributes)
