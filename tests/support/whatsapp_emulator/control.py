"""The control API: JSON over HTTP on loopback, and a page for a person. What a tester can do to this WhatsApp.

Errors are {"error": "…"}: 404 for what does not exist, 400 for what is not understood, 409 for what cannot be done now.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec

from tests.support.whatsapp_emulator.accounts import Account, Device, Policy
from tests.support.whatsapp_emulator.connection import conflict
from tests.support.whatsapp_emulator.contents import Saying
from tests.support.whatsapp_emulator.control_page import PAGE
from tests.support.whatsapp_emulator.emulator import Emulator
from tests.support.whatsapp_emulator.groups import Group, IqRefused, participant
from tests.support.whatsapp_emulator.http import Answer, Request, json_answer
from tests.support.whatsapp_emulator.jid import Jid
from tests.support.whatsapp_emulator.media_host import MediaGone
from tests.support.whatsapp_emulator.pairing import PairingFailed
from tests.support.whatsapp_emulator.provision import DeviceKeys, provide
from tests.support.whatsapp_emulator.stanza import Stanza, leaf, parent

Body = TypeVar("Body")
OpenPort = Callable[[int], Awaitable[None]]


class Scan(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Scan a QR code with the phone of that number; `business` is a verified name."""

    qr: str
    phone: str
    name: str | None = None
    business: str | None = None


class EnteredCode(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Type the code that a device shows into the phone of that number."""

    phone: str
    code: str
    name: str | None = None


class AccountSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`policy` replaces some of the policy's fields; `picture` is base64, and an empty one removes it. `contacts` are
    names by number; `status_list` the only numbers who see status updates, an empty one lets all contacts see them.
    """

    name: str | None = None
    about: str | None = None
    picture: bytes | None = None
    contacts: dict[str, str] | None = None
    status_list: list[str] | None = None
    policy: dict[str, Any] = {}


class Typing(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`to` is a number or a group."""

    to: str
    is_typing: bool = True
    is_voice: bool = False


class Presence(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`last_seen` in Unix seconds, or "deny"; by default it is now."""

    is_online: bool
    last_seen: str | None = None


class Call(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`group` is the JID of the group of a group call."""

    to: str
    is_video: bool = False
    group: str | None = None


class CallAct(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`act` is accept or terminate; a reason is e.g. timeout, accepted_elsewhere, rejected_elsewhere."""

    act: str = "terminate"
    reason: str | None = None


class PasskeyWanted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Whoever scans this QR code is asked for a passkey first."""

    qr: str


class NewGroup(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    subject: str
    owner: str
    members: list[str]


class GroupChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """By `author`: members added, removed, promoted or demoted; another subject or description, which is removed when
    it is empty; a switch (announcement, not_announcement, locked, unlocked); `ephemeral_s` after which messages go, 0
    for never; another invitation link; coming by the link, leaving; the group's end.
    """

    author: str
    add: list[str] = []
    remove: list[str] = []
    promote: list[str] = []
    demote: list[str] = []
    subject: str | None = None
    description: str | None = None
    switch: str | None = None
    ephemeral_s: int | None = None
    renew_link: bool = False
    join: bool = False
    leave: bool = False
    delete: bool = False


class DeviceFault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`code` is for "stream-error"."""

    code: str = "503"


class Door(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A port of 127.0.0.1 outside, to be reached under the same number inside the namespace; a window: vice versa."""

    port: int


class Control:
    """`open_door` connects the namespace to a port outside, `open_window` those outside to a port of the namespace."""

    def __init__(self, emulator: Emulator, open_door: OpenPort, open_window: OpenPort) -> None:
        self._emulator = emulator
        self._open_door = open_door
        self._open_window = open_window

    async def answer(self, request: Request) -> Answer:
        """One request."""
        path = tuple(part for part in request.path.split("/") if part)
        try:
            return await self._route(request, path)
        except (KeyError, MediaGone) as error:
            return json_answer({"error": str(error.args[0])}, 404)
        except (msgspec.DecodeError, msgspec.ValidationError, ValueError, IqRefused) as error:
            return json_answer({"error": str(error)}, 400)
        except (PairingFailed, OSError) as error:
            return json_answer({"error": str(error)}, 409)

    async def _route(self, request: Request, path: tuple[str, ...]) -> Answer:
        emulator = self._emulator
        match (request.method, *path):
            case ("GET",):
                return Answer(body=PAGE.encode(), content_type="text/html; charset=utf-8")
            case ("POST", "scan"):
                return _device_answer(await self._scan(_body(request, Scan)))
            case ("POST", "code"):
                return _device_answer(await self._enter_code(_body(request, EnteredCode)))
            case ("POST", "passkey"):
                emulator.pairing.want_passkey(_body(request, PasskeyWanted).qr)
                return json_answer({})
            case ("GET", "accounts"):
                return json_answer([_shown(account) for account in emulator.directory.accounts.values()])
            case ("PUT", "accounts", phone):
                return json_answer(_shown(self._set_account(phone, _body(request, AccountSettings))))
            case ("POST", "accounts", phone, "say"):
                account = emulator.directory.named(phone)
                return json_answer({"ids": await emulator.phones.say(account, _body(request, Saying))})
            case ("POST", "accounts", phone, "typing"):
                self._type(phone, _body(request, Typing))
                return json_answer({})
            case ("POST", "accounts", phone, "presence"):
                self._show(phone, _body(request, Presence))
                return json_answer({})
            case ("POST", "accounts", phone, "devices"):
                return json_answer(provide(emulator.directory.account(phone), _body(request, DeviceKeys)))
            case ("POST", "accounts", phone, "call"):
                return json_answer({"call": self._ring(phone, _body(request, Call))})
            case ("POST", "calls", call_id):
                act = _body(request, CallAct)
                emulator.moments.end(call_id, act=act.act, reason=act.reason)
                return json_answer({})
            case ("GET", "accounts", phone, "media", message_id):
                return Answer(body=emulator.phones.media_of(phone, message_id))
            case ("POST", "devices", name, fault):
                self._break(self._device(name), fault, _body(request, DeviceFault))
                return json_answer({})
            case ("GET", "groups"):
                return json_answer([_shown_group(group) for group in emulator.groups.groups.values()])
            case ("POST", "groups"):
                return json_answer(_shown_group(self._create_group(_body(request, NewGroup))))
            case ("POST", "groups", jid, "change"):
                return json_answer(_shown_group(self._change_group(jid, _body(request, GroupChange))))
            case ("GET" | "PATCH" | "DELETE", "faults"):
                return json_answer(self._faults(request))
            case ("GET", "journal"):
                return json_answer(self._journal(request.query))
            case ("POST", "doors"):
                await self._open_door(_body(request, Door).port)
                return json_answer({})
            case ("POST", "windows"):
                await self._open_window(_body(request, Door).port)
                return json_answer({})
            case _:
                return json_answer({"error": f"there is no {request.method} {request.path}"}, 404)

    async def _scan(self, scan: Scan) -> Device:
        return await self._emulator.pairing.scan(scan.qr, scan.phone, scan.name, scan.business)

    async def _enter_code(self, entered: EnteredCode) -> Device:
        return await self._emulator.pairing.enter_code(entered.phone, entered.code, entered.name)

    def _set_account(self, phone: str, settings: AccountSettings) -> Account:
        account = self._emulator.directory.account(phone, settings.name)
        account.about = account.about if settings.about is None else settings.about
        if settings.picture is not None and settings.picture != (account.picture or b""):
            self._emulator.change_picture(account, settings.picture or None)
        account.contacts = account.contacts if settings.contacts is None else settings.contacts
        if settings.status_list is not None:
            account.status_list = settings.status_list or None
        account.policy = msgspec.convert(msgspec.to_builtins(account.policy) | settings.policy, Policy)
        return account

    def _device(self, name: str) -> Device:
        """`<phone>:<device>`, or `<phone>` for the device that was linked last."""
        phone, _, number = name.partition(":")
        return self._emulator.directory.named(phone).device(int(number) if number else None)

    def _break(self, device: Device, fault: str, settings: DeviceFault) -> None:
        emulator = self._emulator
        match fault:
            case "drop":
                emulator.online(device).drop()
            case "close":
                emulator.online(device).close()
            case "conflict":
                emulator.online(device).end(conflict("replaced"), "conflict")
            case "stream-error":
                emulator.online(device).end(Stanza("stream:error", {"code": settings.code}), "stream error")
            case "remove":
                emulator.remove(device)
            case _:
                raise KeyError(f"no fault {fault!r}; there are drop, close, conflict, stream-error and remove")

    def _ring(self, phone: str, call: Call) -> str:
        emulator = self._emulator
        group = None if call.group is None else emulator.groups.find(Jid.parse(call.group))
        caller, to = emulator.directory.named(phone), emulator.directory.named(call.to)
        return emulator.moments.ring(caller, to, is_video=call.is_video, group=group)

    def _type(self, phone: str, typing: Typing) -> None:
        emulator = self._emulator
        to, author = emulator.phones.address(typing.to), emulator.directory.named(phone)
        emulator.moments.type(author, to, is_typing=typing.is_typing, is_voice=typing.is_voice)

    def _show(self, phone: str, presence: Presence) -> None:
        account = self._emulator.directory.named(phone)
        self._emulator.moments.show(account, is_online=presence.is_online, last_seen=presence.last_seen)

    def _create_group(self, new: NewGroup) -> Group:
        directory = self._emulator.directory
        return self._emulator.groups.create(
            new.subject, directory.named(new.owner), [directory.named(member) for member in new.members]
        )

    def _change_group(self, jid: str, change: GroupChange) -> Group:
        emulator = self._emulator
        group = emulator.groups.find(Jid.parse(jid))
        if group is None:
            raise KeyError(f"there is no group {jid}")
        author = emulator.directory.named(change.author)
        for tag in ("add", "remove", "promote", "demote"):
            named: list[str] = getattr(change, tag)
            if named:
                concerned = [participant(emulator.directory.named(name)) for name in named]
                emulator.groups.change(group, author, parent(tag, concerned))
        if change.subject is not None:
            emulator.groups.change(group, author, leaf("subject", change.subject))
        if change.description is not None:
            body = [leaf("body", change.description)] if change.description else []
            emulator.groups.change(group, author, parent("description", body))
        if change.switch is not None:
            emulator.groups.change(group, author, Stanza(change.switch))
        if change.ephemeral_s is not None:
            emulator.groups.change(group, author, Stanza("ephemeral", {"expiration": change.ephemeral_s}))
        if change.renew_link:
            emulator.groups.renew_link(group, author)
        if change.join:
            emulator.groups.join(group, author)
        if change.delete:
            emulator.groups.delete(group, author)
        if change.leave:
            emulator.groups.leave(group, author)
        return group

    def _faults(self, request: Request) -> dict[str, Any]:
        """All of them, after those that are given were set, or all taken away."""
        emulator = self._emulator
        match request.method:
            case "PATCH":
                emulator.set_faults(msgspec.json.decode(request.body, type=dict[str, Any]))
            case "DELETE":
                emulator.set_faults(msgspec.to_builtins(type(emulator.faults)()))
        shown: dict[str, Any] = msgspec.to_builtins(emulator.faults)
        return shown

    def _journal(self, query: Mapping[str, str]) -> dict[str, Any]:
        journal = self._emulator.journal
        kinds = [kind for kind in query.get("kinds", "").split(",") if kind]
        return {"last": journal.last, "entries": journal.entries(after=int(query.get("after", "0")), kinds=kinds)}


def _body(request: Request, kind: type[Body]) -> Body:
    return msgspec.json.decode(request.body or b"{}", type=kind)


def _device_answer(device: Device) -> Answer:
    return json_answer({"device": device.name, "jid": str(device.pn), "lid": str(device.lid)})


def _shown(account: Account) -> dict[str, Any]:
    return {
        "phone": account.phone,
        "name": account.name,
        "jid": str(account.pn),
        "lid": str(account.lid),
        "devices": [
            {
                "device": device.name,
                "is_online": device.line is not None,
                "connection": None if device.line is None else device.line.id,
                "prekeys": len(device.prekeys),
                "queued": len(device.queue),
            }
            for device in account.devices.values()
        ],
    }


def _shown_group(group: Group) -> dict[str, Any]:
    return {
        "jid": str(group.jid),
        "subject": group.subject,
        "description": group.description,
        "invite_code": group.invite_code,
        "members": {member.phone: role for member, role in group.roles.items()},
    }
