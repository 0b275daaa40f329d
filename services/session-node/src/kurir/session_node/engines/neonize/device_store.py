"""Where whatsmeow keeps the keys of paired devices: in a file per device, or in one PostgreSQL database.

Keys are a device's only copy and are used by one shard at a time. They must not be copied while in use or restored from
an old copy: a stale Signal ratchet loses messages.
"""

from collections.abc import Callable
from typing import Protocol


class StoreUnavailable(Exception):
    """The keys cannot be reached at the moment; the text says why, without passwords."""


class DeviceStore(Protocol):
    """Every call is bounded in time and raises StoreUnavailable when the store does not answer."""

    async def start(self, lost: Callable[[str], None]) -> None:
        """Get ready; does not wait for the store.

        `lost` is called, with why, when a store that answered does so no longer. Whoever is connected then has to leave
        WhatsApp: the library acknowledges what it receives, and without keys it cannot read it.
        """
        ...

    async def database(self, tenant: str, device: str) -> str:
        """The name of the device's database for the library in this process."""
        ...

    async def database_for_child(self, tenant: str, device: str) -> str:
        """The name of the device's database for the library in another process, which pairs."""
        ...

    async def keep(self, tenant: str, device: str, jid: str) -> None:
        """The keys of `jid` were just paired into the database and are this device's from now on. Idempotent."""
        ...

    async def has(self, tenant: str, device: str, jid: str) -> bool:
        """Whether the device's keys of `jid` are there: asked to log in without, the library ends the whole process.

        False means that they are gone for good. Of keys that this store never had it says StoreUnavailable: they may be
        on another volume, or in another database.
        """
        ...

    async def forget(self, tenant: str, device: str) -> None:
        """Remove the device's keys. Idempotent; the device's client must have been stopped."""
        ...

    async def stop(self) -> None:
        """Close what is open."""
        ...
