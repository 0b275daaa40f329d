"""The control API for tests in Python: one method per thing a tester can do to this WhatsApp.

Every call opens a connection of its own, so a client may be kept over tests and event loops.
"""

import base64
import json
from collections.abc import Collection, Sequence
from typing import Any

import httpx
import msgspec

from tests.support.conditions import WITHIN_S, until
from tests.support.whatsapp_emulator.address import EmulatorAddress
from tests.support.whatsapp_emulator.journal import Entry
from tests.support.whatsapp_emulator.provision import DeviceKeys, Provided

CALL_TIMEOUT_S = 30.0


class EmulatorRefused(Exception):
    """The emulator could not do it; the text says why."""


class EmulatorClient:
    """Numbers are digits with country code. A device is named "<number>:<device>", or "<number>" for its latest.

    Every method raises EmulatorRefused.
    """

    def __init__(self, address: EmulatorAddress) -> None:
        self.address = address

    # --- linking ----------------------------------------------------------------------------------------------------

    async def scan(self, qr: str, phone: str, *, name: str | None = None, business: str | None = None) -> str:
        """Scan a QR code's text; returns the device's name when it is linked. Its login follows."""
        answer = await self._call("POST", "/scan", {"qr": qr, "phone": phone, "name": name, "business": business})
        return str(answer["device"])

    async def enter_code(self, phone: str, code: str, *, name: str | None = None) -> str:
        """Type a code into the phone; returns the device's name when it is linked."""
        answer = await self._call("POST", "/code", {"phone": phone, "code": code, "name": name})
        return str(answer["device"])

    async def want_passkey(self, qr: str) -> None:
        """Ask the device that shows this QR code for a passkey."""
        await self._call("POST", "/passkey", {"qr": qr})

    async def provide(self, phone: str, keys: DeviceKeys) -> Provided:
        """Let a device be linked that nobody ever paired; see provision.py."""
        answer = await self._call("POST", f"/accounts/{phone}/devices", msgspec.to_builtins(keys))
        return msgspec.convert(answer, Provided)

    # --- contacts ---------------------------------------------------------------------------------------------------

    async def contact(
        self,
        phone: str,
        *,
        name: str | None = None,
        about: str | None = None,
        picture: bytes | None = None,
        contacts: dict[str, str] | None = None,
        status_list: list[str] | None = None,
        **policy: Any,
    ) -> dict[str, Any]:
        """Make or change an account, whose phone then acts by `policy` (see accounts.Policy); its LID is in "lid"."""
        encoded = None if picture is None else base64.b64encode(picture).decode()
        settings: dict[str, Any] = {"name": name, "about": about, "picture": encoded, "policy": policy}
        settings |= {"contacts": contacts, "status_list": status_list}
        account: dict[str, Any] = await self._call("PUT", f"/accounts/{phone}", settings)
        return account

    async def accounts(self) -> dict[str, dict[str, Any]]:
        """By number: name, addresses, and the devices with their state."""
        return {account["phone"]: account for account in await self._call("GET", "/accounts")}

    async def say(self, phone: str, to: str, text: str | None = None, **saying: Any) -> str:
        """Let a phone send a message; its id. Other contents than text: see contents.Saying."""
        return (await self.say_many(phone, to, text, **saying))[0]

    async def say_many(
        self, phone: str, to: str, text: str | None = None, *, count: int = 1, **saying: Any
    ) -> list[str]:
        """Let a phone send the same many times, "{n}" in the text being the number; the ids."""
        content = {"to": to, "text": text, "count": count, **saying}
        return list((await self._call("POST", f"/accounts/{phone}/say", content))["ids"])

    async def send_media(self, phone: str, to: str, kind: str, data: bytes, mimetype: str, **details: Any) -> str:
        """Let a phone send a file; its id. `details` as in contents.MediaFile."""
        encoded = base64.b64encode(data).decode()
        return await self.say(phone, to, media={"kind": kind, "data": encoded, "mimetype": mimetype, **details})

    async def type(self, phone: str, to: str, *, is_typing: bool = True, is_voice: bool = False) -> None:
        """Let a phone type to a linked number or a group."""
        body = {"to": to, "is_typing": is_typing, "is_voice": is_voice}
        await self._call("POST", f"/accounts/{phone}/typing", body)

    async def show(self, phone: str, *, is_online: bool, last_seen: str | None = None) -> None:
        """Let a person come online or go; whoever watches that person's presence and is connected hears of it."""
        await self._call("POST", f"/accounts/{phone}/presence", {"is_online": is_online, "last_seen": last_seen})

    async def call(self, phone: str, to: str, *, is_video: bool = False, group: str | None = None) -> str:
        """Let a phone ring a linked number; the call's id."""
        body = {"to": to, "is_video": is_video, "group": group}
        return str((await self._call("POST", f"/accounts/{phone}/call", body))["call"])

    async def end_call(self, call: str, *, act: str = "terminate", reason: str | None = None) -> None:
        """See control.CallAct."""
        await self._call("POST", f"/calls/{call}", {"act": act, "reason": reason})

    async def media(self, phone: str, message_id: str) -> bytes:
        """The file of a message that a phone has read, decrypted."""
        return await self._fetch("GET", f"/accounts/{phone}/media/{message_id}")

    async def create_group(self, subject: str, owner: str, members: Sequence[str]) -> str:
        """The group's JID."""
        body = {"subject": subject, "owner": owner, "members": list(members)}
        return str((await self._call("POST", "/groups", body))["jid"])

    async def change_group(self, jid: str, author: str, **change: Any) -> dict[str, Any]:
        """See control.GroupChange."""
        changed: dict[str, Any] = await self._call("POST", f"/groups/{jid}/change", {"author": author, **change})
        return changed

    async def groups(self) -> dict[str, dict[str, Any]]:
        return {group["jid"]: group for group in await self._call("GET", "/groups")}

    # --- faults -----------------------------------------------------------------------------------------------------

    async def set_faults(self, **knobs: Any) -> None:
        """Change some knobs: see faults.Faults."""
        await self._call("PATCH", "/faults", {k: sorted(v) if isinstance(v, set) else v for k, v in knobs.items()})

    async def reset_faults(self) -> None:
        await self._call("DELETE", "/faults")

    async def drop(self, device: str) -> None:
        """Cut the device's connection without a word."""
        await self._call("POST", f"/devices/{device}/drop")

    async def close(self, device: str) -> None:
        """Close the device's connection properly."""
        await self._call("POST", f"/devices/{device}/close")

    async def conflict(self, device: str) -> None:
        """Tell the device that another connection replaced it."""
        await self._call("POST", f"/devices/{device}/conflict")

    async def stream_error(self, device: str, code: str) -> None:
        await self._call("POST", f"/devices/{device}/stream-error", {"code": code})

    async def remove(self, device: str) -> None:
        """Unlink the device on its owner's phone."""
        await self._call("POST", f"/devices/{device}/remove")

    # --- what happened ----------------------------------------------------------------------------------------------

    async def journal(self, *kinds: str, after: int = 0) -> list[Entry]:
        """Entries of these kinds, or of all; see journal.py."""
        answer = await self._call("GET", f"/journal?after={after}&kinds={','.join(kinds)}")
        return list(answer["entries"])

    async def mark(self) -> int:
        """The number of the latest entry, from which a test can look on."""
        return int((await self._call("GET", f"/journal?after={1 << 60}"))["last"])

    async def until_journal(
        self, kind: str, *, after: int = 0, count: int = 1, within_s: float = WITHIN_S, **facts: Any
    ) -> list[Entry]:
        """Wait for `count` entries of a kind whose facts are these; they are returned."""
        found: list[Entry] = []

        async def are_there() -> bool:
            entries = await self.journal(kind, after=after)
            found[:] = [entry for entry in entries if facts.items() <= entry.items()]
            return len(found) >= count

        await until(f"{count} × {kind} with {facts}", are_there, within_s=within_s, seen=lambda: found[-5:])
        return found

    async def until_read(self, phone: str, message_id: str, *, within_s: float = WITHIN_S) -> dict[str, Any]:
        """Wait until a phone has read a message; its content as protobuf's JSON."""
        entries = await self.until_journal("message.read", phone=phone, id=message_id, within_s=within_s)
        return dict(entries[0]["content"])

    async def until_online(self, device: str, *, within_s: float = WITHIN_S) -> None:
        await until(f"{device} is online", lambda: self._is_online(device), within_s=within_s)

    async def until_offline(self, device: str, *, within_s: float = WITHIN_S) -> None:
        async def is_offline() -> bool:
            return not await self._is_online(device)

        await until(f"{device} is offline", is_offline, within_s=within_s)

    # --- the namespace ----------------------------------------------------------------------------------------------

    async def open_door(self, port: int) -> None:
        """Let processes in the namespace reach this port of 127.0.0.1 outside."""
        await self._call("POST", "/doors", {"port": port})

    async def _is_online(self, name: str) -> bool:
        account = (await self.accounts()).get(name.partition(":")[0])
        devices = [] if account is None else account["devices"]
        return any(device["is_online"] for device in devices if ":" not in name or device["device"] == name)

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        return json.loads(await self._fetch(method, path, body))

    async def _fetch(self, method: str, path: str, body: Any = None) -> bytes:
        async with httpx.AsyncClient(verify=False, trust_env=False, timeout=CALL_TIMEOUT_S) as client:
            answer = await client.request(method, self.address.control + path, json=body)
        if answer.status_code >= 400:
            raise EmulatorRefused(f"{method} {path}: {answer.json().get('error', answer.status_code)}")
        return answer.content


def kinds(entries: Collection[Entry]) -> list[str]:
    """What happened, in order."""
    return [str(entry["kind"]) for entry in entries]
