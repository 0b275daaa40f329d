"""Brings stanzas to devices: now, or at their next login."""

import time
from collections.abc import Sequence

from tests.support.whatsapp_emulator.accounts import Device
from tests.support.whatsapp_emulator.jid import SERVER
from tests.support.whatsapp_emulator.journal import Journal
from tests.support.whatsapp_emulator.stanza import Stanza


class Post:
    """Stanzas for one device are handed over in the order in which they came."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._last_id = 0

    def new_id(self) -> str:
        self._last_id += 1
        return f"emulator-{self._last_id}"

    def deliver(self, device: Device, stanza: Stanza) -> None:
        """Hand over now, or keep for the next login."""
        if not self.hand_over(device, stanza):
            device.queue.append(stanza)

    def hand_over(self, device: Device, stanza: Stanza) -> bool:
        """Hand over now, or not at all."""
        line = device.line
        if line is None or not line.send(stanza):
            return False
        if stanza.tag == "message":
            device.unacknowledged[stanza.get("id") or ""] = stanza
            self._journal.record(
                "message.delivered",
                device=device.name,
                connection=line.id,
                id=stanza.get("id"),
                sender=stanza.get("participant") or stanza.get("from"),
                was_queued=stanza.get("offline") is not None,
            )
        return True

    def acknowledged(self, device: Device, connection: int, ids: Sequence[str]) -> None:
        """A client has these messages; they are not handed over again."""
        for message_id in ids:
            if device.unacknowledged.pop(message_id, None) is not None:
                self._journal.record("message.acknowledged", device=device.name, connection=connection, id=message_id)

    def deliver_queue(self, device: Device) -> None:
        """What waited while the device was offline, announced and concluded as the client expects it."""
        waiting = [*device.unacknowledged.values(), *device.queue]
        device.unacknowledged.clear()
        device.queue.clear()
        if waiting:
            counts = {
                tag: sum(stanza.tag == tag for stanza in waiting) for tag in ("message", "notification", "receipt")
            }
            self._tell(device, Stanza("offline_preview", {"count": len(waiting), **counts, "appdata": 0}))
        for stanza in waiting:
            self.deliver(device, stanza.with_attributes({"offline": 0}))
        self._tell(device, Stanza("offline", {"count": len(waiting)}))

    def _tell(self, device: Device, info: Stanza) -> None:
        if device.line is not None:
            device.line.send(Stanza("ib", {"from": SERVER}, [info]))


def now() -> int:
    """The time as stanzas carry it: Unix seconds."""
    return int(time.time())
