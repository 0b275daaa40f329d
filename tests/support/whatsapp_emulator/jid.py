"""Addresses of WhatsApp: accounts (by phone number or by LID), their devices, groups, and the server itself."""

from typing import NamedTuple, Self

PHONE_SERVER = "s.whatsapp.net"
LID_SERVER = "lid"
GROUP_SERVER = "g.us"
BROADCAST_SERVER = "broadcast"


class Jid(NamedTuple):
    """`user:device@server`; device 0 is the account's phone and is not written."""

    user: str
    server: str
    device: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError when there is no "@" or the device is no number."""
        left, at, server = text.rpartition("@")
        if not at:
            raise ValueError(f"not a JID: {text!r}")
        user, _, device = left.partition(":")
        return cls(user, server, int(device or 0))

    @property
    def account(self) -> "Jid":
        """The same without the device."""
        return self if self.device == 0 else Jid(self.user, self.server)

    def of_device(self, device: int) -> "Jid":
        return Jid(self.user, self.server, device)

    @property
    def is_group(self) -> bool:
        return self.server == GROUP_SERVER

    @property
    def is_broadcast(self) -> bool:
        """Of status updates, that is; lists are not emulated."""
        return self.server == BROADCAST_SERVER

    @property
    def is_lid(self) -> bool:
        return self.server == LID_SERVER

    def __str__(self) -> str:
        device = f":{self.device}" if self.device else ""
        return f"{self.user}{device}@{self.server}"


SERVER = Jid("", PHONE_SERVER)
