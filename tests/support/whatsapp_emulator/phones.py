"""The virtual phones: every account's device 0. They read what they get, answer by policy, and say what they are told.

A phone of an account with linked devices also does what a phone does for them: it shares the app-state key, gets
copies of what they send, and sends them copies of what its owner writes.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format

from tests.support.whatsapp_emulator import app_state, contents
from tests.support.whatsapp_emulator.accounts import PHONE_DEVICE, Account, Device, Directory
from tests.support.whatsapp_emulator.groups import Group, Groups
from tests.support.whatsapp_emulator.jid import Jid
from tests.support.whatsapp_emulator.journal import Journal
from tests.support.whatsapp_emulator.media_host import MediaGone, MediaHost
from tests.support.whatsapp_emulator.post import Post, now
from tests.support.whatsapp_emulator.protobufs import e2e
from tests.support.whatsapp_emulator.signal_protocol import Undecipherable
from tests.support.whatsapp_emulator.stanza import Stanza, Value, leaf

MAX_REMEMBERED = 20_000  # messages that can be sent again, or whose repetition is noticed
MAX_RETRIES = 5
SAID_AT_ONCE = 20  # of many messages, before clients are listened to again
ECHO = "echo "


@dataclass(frozen=True, slots=True)
class Said:
    """A message of a phone, kept because a device may ask for it again."""

    to: Jid
    message: Any
    category: str | None


class Phones:
    """All virtual phones."""

    def __init__(self, directory: Directory, post: Post, journal: Journal, media: MediaHost, groups: Groups) -> None:
        self._directory = directory
        self._post = post
        self._journal = journal
        self._media = media
        self._groups = groups
        self._said: OrderedDict[str, Said] = OrderedDict()
        self._read: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._later: set[asyncio.TimerHandle] = set()

    def stop(self) -> None:
        """Forget what was planned."""
        for planned in self._later:
            planned.cancel()
        self._later.clear()

    # --- what phones get --------------------------------------------------------------------------------------------

    def receive(
        self, phone: Account, sender: Device, stanza: Stanza, encrypted: Sequence[Stanza], chat: Jid | None
    ) -> None:
        """Read a message that a device sent to a phone, and do what the phone's policy says; once for each message."""
        message_id = stanza.get("id") or ""
        was_read = (phone.phone, message_id) in self._read
        facts = {"phone": phone.phone, "device": sender.name, "id": message_id}
        for part in encrypted:
            try:
                message = self._open(phone, sender, part, chat)
            except Undecipherable as why:
                self._journal.record("message.repeated" if was_read else "message.unreadable", **facts, why=str(why))
                if phone.policy.retry and not was_read:
                    self._ask_again(phone, sender, stanza, part, chat)
                continue
            if chat is not None and part.get("type") != "skmsg" and part.get("count") is None:
                continue  # it brought the sender's key; the message itself is the other part
            if was_read:
                self._journal.record("message.repeated", **facts, why="it came again in another session")
                continue
            is_copy = phone is sender.account
            if is_copy and message.HasField("deviceSentMessage"):
                message = message.deviceSentMessage.message
            self._remember_read(phone, message_id, message)
            self._journal.record(
                "message.read",
                **facts,
                chat=str(stanza.find_jid("recipient") or stanza.jid("to")),
                is_copy=is_copy,
                content=json_format.MessageToDict(message),
            )
            if not is_copy:
                self._react(phone, sender, stanza, message, chat)

    def media_of(self, phone: str, message_id: str) -> bytes:
        """The media of a message that a phone has read. Raises MediaGone."""
        message = self._read.get((phone, message_id))
        found = None if message is None else contents.media_in(message)
        if found is None:
            raise MediaGone(f"{phone} has read no message {message_id} with media")
        return self._media.open(*found)

    def _open(self, phone: Account, sender: Device, part: Stanza, chat: Jid | None) -> Any:
        is_message = chat is None or part.get("type") == "skmsg"
        if is_message and phone.policy.unreadable > 0:
            phone.policy.unreadable -= 1
            raise Undecipherable("the phone's policy says so")
        if part.get("type") == "skmsg":
            assert chat is not None
            return e2e.Message.FromString(phone.signal.group_decrypt(chat, sender.name, part.data))
        message = e2e.Message.FromString(phone.signal.decrypt(sender.name, part.get("type") or "", part.data))
        if chat is not None and message.HasField("senderKeyDistributionMessage"):
            distribution = message.senderKeyDistributionMessage.axolotlSenderKeyDistributionMessage
            phone.signal.learn_sender_key(chat, sender.name, distribution)
        return message

    def _remember_read(self, phone: Account, message_id: str, message: Any) -> None:
        self._read[phone.phone, message_id] = message
        while len(self._read) > MAX_REMEMBERED:
            self._read.popitem(last=False)

    def _react(self, phone: Account, sender: Device, stanza: Stanza, message: Any, chat: Jid | None) -> None:
        policy = phone.policy
        delay_s = 0.0
        if policy.delivered:
            delay_s += policy.delivered_after_s
            self._after(delay_s, lambda: self._receipt(phone, sender, stanza, chat, None))
        if policy.read:
            delay_s += policy.read_after_s
            self._after(delay_s, lambda: self._receipt(phone, sender, stanza, chat, "read"))
        text = contents.text_of(message)
        reply = text.removeprefix(ECHO) if policy.echo and text.startswith(ECHO) else policy.reply
        if reply is not None:
            delay_s += policy.reply_after_s
            to = chat if chat is not None and chat.is_group else sender.account.lid
            self._after(delay_s, lambda: self.send(phone, to, e2e.Message(conversation=reply)))

    def _receipt(self, phone: Account, sender: Device, stanza: Stanza, chat: Jid | None, kind: str | None) -> None:
        attributes: dict[str, Value] = {"id": stanza.get("id"), "t": now(), "type": kind}
        self._post.deliver(sender, Stanza("receipt", attributes | self._seen_from(phone, stanza, chat)))

    def _ask_again(self, phone: Account, sender: Device, stanza: Stanza, part: Stanza, chat: Jid | None) -> None:
        count = int(part.get("count") or 0) + 1
        if count >= MAX_RETRIES:
            return
        attributes: dict[str, Value] = {"id": stanza.get("id"), "t": now(), "type": "retry"}
        if phone is sender.account:
            attributes |= {"from": phone.lid, "recipient": stanza.jid("to").account}
        else:
            attributes |= self._seen_from(phone, stanza, chat)
        retry = Stanza("retry", {"count": count, "id": stanza.get("id"), "t": now(), "v": "1"})
        registration = leaf("registration", phone.signal.registration_id.to_bytes(4, "big"))
        asking = Stanza("receipt", attributes, [retry, registration])
        self._after(phone.policy.retry_after_s, lambda: self._post.deliver(sender, asking))

    def _seen_from(self, phone: Account, stanza: Stanza, chat: Jid | None) -> dict[str, Value]:
        if chat is not None:
            return {"from": chat, "participant": phone.lid}
        return {"from": stanza.jid("to").account}

    # --- what phones say --------------------------------------------------------------------------------------------

    async def say(self, phone: Account, saying: contents.Saying) -> list[str]:
        """Send what the control API asks for; the messages' ids. Raises KeyError or ValueError."""
        to = self.address(saying.to)
        ids = []
        for number in range(saying.count):
            if saying.vote is not None:
                poll = self._read[phone.phone, saying.vote.id]
                message = contents.vote_of(saying.vote, poll, phone.lid, str(to) if to.is_group else None)
            else:
                message = contents.message_of(saying, number, self._media)
            ids.append(self.send(phone, to, message, message_id=saying.id, is_damaged=saying.is_damaged))
            if number % SAID_AT_ONCE == 0:
                await asyncio.sleep(0)
        return ids

    def send(
        self, phone: Account, to: Jid, message: Any, *, message_id: str | None = None, is_damaged: bool = False
    ) -> str:
        """Send to all linked devices of an account, or to those of a group's members; the message's id.

        A damaged message cannot be read until it is asked for again.
        """
        message_id = message_id or new_message_id()
        self._remember_said(message_id, Said(to, message, None))
        group = self._groups.find(to)
        if group is not None:
            self._send_to_group(phone, group, message_id, message, is_damaged=is_damaged)
            return message_id
        if to.is_broadcast:
            self._show_status(phone, to, message_id, message)
            return message_id
        receiver = self._directory.find(to)
        if receiver is None:
            raise KeyError(f"{to} is not on this WhatsApp")
        for device in receiver.devices.values():
            self._send_to_device(phone, device, message_id, message, None, is_damaged=is_damaged)
        if receiver is not phone:
            copy = e2e.Message(
                deviceSentMessage=e2e.DeviceSentMessage(destinationJID=str(receiver.lid), message=message)
            )
            for device in phone.devices.values():
                self._send_to_device(phone, device, message_id, copy, None, recipient=receiver)
        return message_id

    def send_again(self, phone: Account, device: Device, receipt: Stanza) -> None:
        """A device could not read a phone's message: send it anew, in a new session."""
        message_id = receipt.get("id") or ""
        said = self._said.get(message_id)
        if said is None:
            return
        count = receipt.child("retry").get("count")
        self._journal.record("message.sent_again", phone=phone.phone, device=device.name, id=message_id, count=count)
        group = self._groups.find(said.to)
        if group is None:
            self._send_to_device(phone, device, message_id, said.message, said.category, anew=True, count=count)
            return
        distribution, _ = phone.signal.group_encrypt(group.jid, b"")
        message = _with_sender_key(said.message, group, distribution)
        attributes = self._group_attributes(phone, group, message_id, said.message)
        part = self._encrypted(phone, device, message, anew=True, count=count)
        self._post.deliver(device, Stanza("message", attributes, [part]))

    def welcome(self, device: Device) -> None:
        """What the phone tells a device that it has just linked."""
        if not device.was_welcomed:
            device.was_welcomed = True
            shared = app_state.key_share(device.account)
            message_id = new_message_id()
            self._remember_said(message_id, Said(device.account.lid, shared, "peer"))
            self._send_to_device(device.account, device, message_id, shared, "peer")

    def address(self, name: str) -> Jid:
        """The JID of a number, a group or the status updates. Raises KeyError."""
        if "@" in name and ((jid := Jid.parse(name)).is_group or jid.is_broadcast):
            return jid
        return self._directory.named(name).lid

    def _send_to_device(
        self,
        phone: Account,
        device: Device,
        message_id: str,
        message: Any,
        category: str | None,
        *,
        recipient: Account | None = None,
        anew: bool = False,
        count: str | None = None,
        is_damaged: bool = False,
    ) -> None:
        attributes: dict[str, Value] = {
            "id": message_id,
            "t": now(),
            "type": contents.stanza_type(message),
            "edit": contents.edit_attribute(message),
            "notify": phone.name,
            "from": phone.lid,
            "category": category,
        }
        if recipient is not None:
            attributes |= {"recipient": recipient.lid, "peer_recipient_pn": recipient.pn}
        elif phone is not device.account:
            attributes["sender_pn"] = phone.pn
        part = self._encrypted(phone, device, message, anew=anew, count=count)
        if is_damaged:
            part.content = _damaged(part.data)
        self._post.deliver(device, Stanza("message", attributes, [part]))

    def _show_status(self, phone: Account, to: Jid, message_id: str, message: Any) -> None:
        """To everybody's devices: on this WhatsApp all are contacts of all."""
        attributes: dict[str, Value] = {
            "id": message_id,
            "t": now(),
            "type": contents.stanza_type(message),
            "notify": phone.name,
            "from": to,
            "participant": phone.lid,
        }
        for device in self._directory.devices():
            if device.account is not phone:
                part = self._encrypted(phone, device, message)
                self._post.deliver(device, Stanza("message", attributes, [part]))

    def _send_to_group(self, phone: Account, group: Group, message_id: str, message: Any, *, is_damaged: bool) -> None:
        distribution, body = phone.signal.group_encrypt(group.jid, message.SerializeToString())
        if is_damaged:
            body = _damaged(body)
        sender_key = _with_sender_key(e2e.Message(), group, distribution)
        attributes = self._group_attributes(phone, group, message_id, message)
        for device in group.devices():
            parts = [self._encrypted(phone, device, sender_key), leaf("enc", body, v="2", type="skmsg")]
            self._post.deliver(device, Stanza("message", attributes, parts))

    def _group_attributes(self, phone: Account, group: Group, message_id: str, message: Any) -> dict[str, Value]:
        return {
            "id": message_id,
            "t": now(),
            "type": contents.stanza_type(message),
            "edit": contents.edit_attribute(message),
            "notify": phone.name,
            "from": group.jid,
            "participant": phone.lid,
            "participant_pn": phone.pn,
            "addressing_mode": "lid",
        }

    def _encrypted(
        self, phone: Account, device: Device, message: Any, *, anew: bool = False, count: str | None = None
    ) -> Stanza:
        plain = message.SerializeToString()
        kind, data = phone.signal.encrypt(device.name, plain, device.bundle, anew=anew)
        return leaf("enc", data, v="2", type=kind, count=count)

    def _remember_said(self, message_id: str, said: Said) -> None:
        self._said[message_id] = said
        while len(self._said) > MAX_REMEMBERED:
            self._said.popitem(last=False)

    def _after(self, delay_s: float, act: Callable[[], object]) -> None:
        if delay_s <= 0:
            act()
            return

        def due() -> None:
            self._later.discard(planned)
            act()

        planned = asyncio.get_running_loop().call_later(delay_s, due)
        self._later.add(planned)


def is_phone(jid: Jid) -> bool:
    return jid.device == PHONE_DEVICE


def new_message_id() -> str:
    """As phones make them."""
    return "3A" + secrets.token_hex(9).upper()


def _damaged(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def _with_sender_key(message: Any, group: Group, distribution: bytes) -> Any:
    carrying = e2e.Message()
    carrying.CopyFrom(message)
    carrying.senderKeyDistributionMessage.groupID = str(group.jid)
    carrying.senderKeyDistributionMessage.axolotlSenderKeyDistributionMessage = distribution
    return carrying
