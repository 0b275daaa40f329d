"""What clients send to others: messages and receipts. They go to linked devices and to phones."""

import asyncio

from tests.support.whatsapp_emulator import faults as fault
from tests.support.whatsapp_emulator.accounts import Device, Directory
from tests.support.whatsapp_emulator.connection import Connection
from tests.support.whatsapp_emulator.faults import Faults
from tests.support.whatsapp_emulator.groups import Group, Groups
from tests.support.whatsapp_emulator.jid import Jid
from tests.support.whatsapp_emulator.journal import Journal
from tests.support.whatsapp_emulator.phones import Phones, is_phone
from tests.support.whatsapp_emulator.post import Post, now
from tests.support.whatsapp_emulator.stanza import Stanza, Value

NOT_A_MEMBER = "403"  # our choice; what the real server says is not known


class Relay:
    """Takes stanzas of logged-in clients. What is for nobody here is dropped, as the real server seems to do."""

    def __init__(
        self,
        directory: Directory,
        post: Post,
        journal: Journal,
        groups: Groups,
        phones: Phones,
        faults: Faults,
    ) -> None:
        self._directory = directory
        self._post = post
        self._journal = journal
        self._groups = groups
        self._phones = phones
        self._faults = faults

    # --- messages ---------------------------------------------------------------------------------------------------

    def message(self, connection: Connection, stanza: Stanza) -> None:
        """Acknowledge and pass on."""
        device = connection.owner
        to = stanza.jid("to")
        group = self._groups.find(to)
        account = None if to.is_group else self._directory.find(to)
        is_lost = fault.concerns(self._faults.lose_messages, to, account)
        error = fault.ack_error(self._faults, to, account)
        if to.is_group and (group is None or device.account not in group.roles):
            error = NOT_A_MEMBER
        is_acked = not is_lost and not fault.concerns(self._faults.drop_acks, to, account)
        self._journal.record(
            "message.sent",
            device=device.name,
            connection=connection.id,
            id=stanza.get("id"),
            to=fault.recipient_name(to, account),
            is_acked=is_acked,
            error=error,
            is_lost=is_lost,
            is_sent_again=_is_sent_again(stanza),
        )
        if is_acked:
            self._acknowledge(connection, stanza, error)
        if is_lost or error is not None:
            return
        if group is not None:
            self._to_group(device, stanza, group)
        elif to.is_broadcast:
            self._to_viewers(device, stanza)
        else:
            self._to_devices(device, stanza)

    def _acknowledge(self, connection: Connection, stanza: Stanza, error: str | None) -> None:
        attributes: dict[str, Value] = {"class": "message", "from": stanza.jid("to"), "id": stanza.get("id")}
        ack = Stanza("ack", attributes | {"t": now(), "error": error})
        if self._faults.ack_delay_s > 0:
            asyncio.get_running_loop().call_later(self._faults.ack_delay_s, connection.send, ack)
        else:
            connection.send(ack)

    def _to_devices(self, sender: Device, stanza: Stanza) -> None:
        """A message names each device with the part that is for it; sent again, it is for one device."""
        to = stanza.jid("to")
        participants = stanza.find("participants")
        parts = {child.jid("jid"): child.children for child in participants.children} if participants else {}
        if _is_sent_again(stanza):
            parts = {to: stanza.all("enc")}
        identity = stanza.all("device-identity")
        for jid, encrypted in parts.items():
            if is_phone(jid):
                phone = self._directory.find(jid)
                if phone is not None:
                    self._phones.receive(phone, sender, stanza, encrypted, None)
                continue
            device = self._directory.find_device(jid)
            if device is not None:
                attributes = self._from_account(sender, stanza, jid, device)
                self._post.deliver(device, Stanza("message", attributes, encrypted + identity))

    def _from_account(self, sender: Device, stanza: Stanza, jid: Jid, device: Device) -> dict[str, Value]:
        attributes = _common(sender, stanza)
        if jid.is_lid:
            attributes |= {"from": sender.lid, "sender_pn": sender.account.pn}
        else:
            attributes |= {"from": sender.pn, "sender_lid": sender.account.lid}
        if device.account is sender.account:
            attributes["recipient"] = stanza.jid("to").account
            attributes["peer_recipient_pn"] = stanza.find_jid("peer_recipient_pn")
        return attributes

    def _to_group(self, sender: Device, stanza: Stanza, group: Group) -> None:
        """A message to a group has one part for all, and parts for each device that bring the sender's key."""
        for_all = stanza.all("enc")
        participants = stanza.find("participants")
        parts = {child.jid("jid"): child.children for child in participants.children} if participants else {}
        asked_again = stanza.find_jid("participant")
        if asked_again is not None:
            parts, for_all = {asked_again: for_all}, []
        own_parts = {self._key(jid): encrypted for jid, encrypted in parts.items()}
        identity = stanza.all("device-identity")
        attributes = _common(sender, stanza) | {
            "from": group.jid,
            "participant": sender.lid,
            "participant_pn": sender.account.pn,
            "addressing_mode": "lid",
        }
        for member in list(group.roles):
            own = own_parts.get((member.phone, 0), [])
            self._phones.receive(member, sender, stanza, own + for_all, group.jid)
            for device in member.devices.values():
                own = own_parts.get((member.phone, device.number), [])
                if device is not sender and own + for_all:
                    content = own + for_all + (identity if own else [])
                    self._post.deliver(device, Stanza("message", attributes, content))

    def _to_viewers(self, sender: Device, stanza: Stanza) -> None:
        """A status has one part for all, and parts for those whom the sender shows it to: they bring its key."""
        for_all = stanza.all("enc")
        participants = stanza.find("participants")
        parts = {child.jid("jid"): child.children for child in participants.children} if participants else {}
        asked_again = stanza.find_jid("participant")
        if asked_again is not None:
            parts, for_all = {asked_again: for_all}, []
        identity = stanza.all("device-identity")
        attributes = _common(sender, stanza) | {
            "from": stanza.jid("to"),
            "participant": sender.lid,
            "participant_pn": sender.account.pn,
            "addressing_mode": "lid",
        }
        for jid, own in parts.items():
            account = self._directory.find(jid)
            device = self._directory.find_device(jid)
            if is_phone(jid) and account is not None:
                self._phones.receive(account, sender, stanza, own + for_all, stanza.jid("to"))
            elif device is not None and device is not sender:
                self._post.deliver(device, Stanza("message", attributes, own + for_all + identity))

    def _key(self, jid: Jid) -> tuple[str, int]:
        account = self._directory.find(jid)
        return ("" if account is None else account.phone, jid.device)

    def ack(self, connection: Connection, stanza: Stanza) -> None:
        """A client took something that is told to nobody else."""
        if stanza.get("class") == "message":
            self._post.acknowledged(connection.owner, connection.id, [stanza.get("id") or ""])

    # --- receipts ---------------------------------------------------------------------------------------------------

    def receipt(self, connection: Connection, stanza: Stanza) -> None:
        """Acknowledge and pass on; a phone that is asked to send a message again does so."""
        device = connection.owner
        ids = [stanza.get("id") or "", *_listed(stanza)]
        self._post.acknowledged(device, connection.id, ids)
        to, participant = stanza.jid("to"), stanza.find_jid("participant")
        kind = stanza.get("type")
        acknowledged: dict[str, Value] = {"class": "receipt", "from": to, "id": stanza.get("id"), "type": kind}
        connection.send(Stanza("ack", acknowledged | {"participant": participant}))
        author = participant or to
        account = self._directory.find(author)
        self._journal.record(
            "receipt.sent",
            device=device.name,
            connection=connection.id,
            ids=ids,
            type=kind or "delivered",
            to=fault.recipient_name(author, account),
        )
        if account is None:
            return
        if kind == "retry" and is_phone(author):
            self._phones.send_again(account, device, stanza)
            return
        attributes: dict[str, Value] = {"id": stanza.get("id"), "type": kind, "t": stanza.get("t") or now()}
        if to.is_group or to.is_broadcast:
            attributes |= {"from": to, "participant": device.lid}
        else:
            attributes["from"] = device.lid if to.is_lid else device.pn
            if account is device.account:
                attributes["recipient"] = stanza.find_jid("recipient")
        receivers = account.devices.values()
        for receiver in [r for r in receivers if kind != "retry" or r.number == author.device]:
            if receiver is not device:
                self._post.deliver(receiver, Stanza("receipt", attributes, stanza.content))


def _common(sender: Device, stanza: Stanza) -> dict[str, Value]:
    return {
        "id": stanza.get("id"),
        "t": now(),
        "type": stanza.get("type") or "text",
        "notify": sender.account.name,
        "edit": stanza.get("edit"),
    }


def _is_sent_again(stanza: Stanza) -> bool:
    """A receiver could not read a message and asked for it again."""
    return any(part.get("count") is not None for part in stanza.all("enc"))


def _listed(stanza: Stanza) -> list[str]:
    listed = stanza.find("list")
    return [] if listed is None else [item.get("id") or "" for item in listed.children]
