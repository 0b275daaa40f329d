"""What is told and not kept: who is online, who types, whose phone rings. Only who is connected hears it."""

import secrets
from dataclasses import dataclass

from tests.support.whatsapp_emulator.accounts import Account, Device, Directory
from tests.support.whatsapp_emulator.connection import Connection
from tests.support.whatsapp_emulator.groups import Group, Groups
from tests.support.whatsapp_emulator.jid import Jid
from tests.support.whatsapp_emulator.journal import Journal
from tests.support.whatsapp_emulator.post import Post, now
from tests.support.whatsapp_emulator.stanza import Stanza, Value


@dataclass(frozen=True, slots=True)
class Ringing:
    """A call that goes to some account; `group` is the group of a group call."""

    caller: Account
    to: Account
    group: Group | None


class Moments:
    """Presence, typing and calls, of clients and of phones."""

    def __init__(self, directory: Directory, post: Post, journal: Journal, groups: Groups) -> None:
        self._directory = directory
        self._post = post
        self._journal = journal
        self._groups = groups
        self._watchers: dict[Account, dict[Device, Jid]] = {}
        self._online: dict[Account, tuple[bool, str | None]] = {}
        self._calls: dict[str, Ringing] = {}

    # --- presence ---------------------------------------------------------------------------------------------------

    def presence(self, connection: Connection, stanza: Stanza) -> None:
        """A client shows itself, or wants to hear of somebody, by the address that it asks for."""
        device, kind = connection.owner, stanza.get("type")
        if kind == "subscribe":
            asked = stanza.jid("to").account
            account = self._directory.find(asked)
            if account is not None:
                self._watchers.setdefault(account, {})[device] = asked
                self._tell_presence(account, device, asked)
            return
        if stanza.get("name"):
            device.account.name = stanza.get("name") or ""
        self._journal.record("presence.sent", device=device.name, type=kind)
        self.show(device.account, is_online=kind == "available")

    def show(self, account: Account, *, is_online: bool, last_seen: str | None = None) -> None:
        """Somebody comes or goes; `last_seen` is in Unix seconds, "deny" for who does not show it."""
        self._online[account] = is_online, last_seen or (None if is_online else str(now()))
        for device, asked in self._watchers.get(account, {}).items():
            self._tell_presence(account, device, asked)

    def _tell_presence(self, account: Account, device: Device, asked: Jid) -> None:
        is_online, last_seen = self._online.get(account, (False, None))
        attributes: dict[str, Value] = {"from": asked, "type": None if is_online else "unavailable"}
        self._post.hand_over(device, Stanza("presence", attributes | {"last": None if is_online else last_seen}))

    # --- typing -----------------------------------------------------------------------------------------------------

    def chat_state(self, connection: Connection, stanza: Stanza) -> None:
        """A client's user types or records, or no longer does."""
        device, to, state = connection.owner, stanza.jid("to"), stanza.children[0]
        self._journal.record("typing.sent", device=device.name, to=str(to), state=state.tag, media=state.get("media"))
        self._tell_state(device.account, to, state)

    def type(self, phone: Account, to: Jid, *, is_typing: bool, is_voice: bool) -> None:
        """Likewise on a phone; `to` is a person or a group."""
        self._tell_state(
            phone, to, Stanza("composing" if is_typing else "paused", {"media": "audio" if is_voice else None})
        )

    def _tell_state(self, author: Account, to: Jid, state: Stanza) -> None:
        group, person = self._groups.find(to), None if to.is_group else self._directory.find(to)
        attributes: dict[str, Value] = {"from": author.lid}
        if group is not None:
            attributes = {"from": group.jid, "participant": author.lid}
        receivers = group.devices() if group is not None else list(person.devices.values()) if person else []
        for receiver in receivers:
            if receiver.account is not author:
                self._post.hand_over(receiver, Stanza("chatstate", attributes, [state]))

    # --- calls ------------------------------------------------------------------------------------------------------

    def call(self, connection: Connection, stanza: Stanza) -> None:
        """A client does something about a call."""
        act = stanza.children[0]
        self._journal.record(f"call.{act.tag}", device=connection.owner.name, call=act.get("call-id"))
        attributes: dict[str, Value] = {"class": "call", "from": stanza.jid("to"), "id": stanza.get("id")}
        connection.send(Stanza("ack", attributes | {"type": act.tag}))

    def ring(self, phone: Account, to: Account, *, is_video: bool = False, group: Group | None = None) -> str:
        """Let linked devices ring; the call's id."""
        call_id = secrets.token_hex(16).upper()
        self._calls[call_id] = Ringing(phone, to, group)
        media = [Stanza("audio", {"enc": "opus", "rate": "16000"})]
        if is_video:
            media.append(Stanza("video", {"enc": "vp8"}))
        self._tell_call(call_id, "offer", media)
        return call_id

    def end(self, call_id: str, *, act: str, reason: str | None) -> None:
        """Go on with a call: `act` is terminate, for a reason perhaps, or accept. Raises KeyError."""
        self._tell_call(call_id, act, None, {"reason": reason})
        if act == "terminate":
            del self._calls[call_id]

    def _tell_call(
        self, call_id: str, act: str, content: list[Stanza] | None, more: dict[str, Value] | None = None
    ) -> None:
        call = self._calls[call_id]
        about: dict[str, Value] = {"call-id": call_id, "call-creator": call.caller.lid, "caller_pn": call.caller.pn}
        about |= {"group-jid": None if call.group is None else call.group.jid, **(more or {})}
        for device in call.to.devices.values():
            attributes: dict[str, Value] = {"from": call.caller.lid, "id": self._post.new_id(), "t": now()}
            attributes |= {"platform": "android", "version": "2.26.1"}
            self._post.hand_over(device, Stanza("call", attributes, [Stanza(act, about, content)]))
