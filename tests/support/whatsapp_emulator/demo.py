"""The whole of Kurir on the real WhatsApp library, without a phone: `make demo ENGINE=neonize EMULATOR=1`.

Everything is as `kurir up` starts it, except that the session-node runs under the emulator's launcher. A device is
paired by a QR code, and talks to people and in a group; each step tells what the other side saw and which webhooks
came. Then it stays up for a person, who is the phones. The emulator forgets everything when it ends, and so does this.
"""

import argparse
import os
import shlex
import shutil
import socket
import sys
from typing import Any

from kurir.cli.console import say, say_plain
from kurir.cli.demo import Finale
from kurir.cli.embedded import PortOccupied, ensure_ports_free
from kurir.cli.settings import UpSettings
from kurir.cli.tenancy import DemonstrationFailed, Tenancy, now
from kurir.cli.up import run_up
from kurir.runtime.settings import SettingsRefused, load
from tests.support.whatsapp_emulator.__main__ import DEFAULT_CONTROL_PORT, DEFAULT_FOLDER
from tests.support.whatsapp_emulator.client import EmulatorClient, EmulatorRefused
from tests.support.whatsapp_emulator.process import EmulatorProcess
from tests.support.whatsapp_emulator.run_trusting import REPOSITORY

AYU, VERA, BUDI = "628111222333", "628999000111", "628999000222"
PICTURE = REPOSITORY / "docs" / "kurir.png"
LINKED_WITHIN_S = 120.0


class CannotStart(Exception):
    """The message says what to do."""


class Play:
    """Ayu's number becomes a device of Kurir; Vera and Budi have phones."""

    def __init__(self, whatsapp: EmulatorClient) -> None:
        self._whatsapp = whatsapp

    async def __call__(self, tenancy: Tenancy) -> Finale:
        """Every step of the demonstration. Raises DemonstrationFailed or TimeoutError."""
        try:
            device = await self._pair(tenancy)
            await self._text_out(tenancy, device)
            await self._image_out(tenancy, device)
            await self._text_in(tenancy)
            await self._image_in(tenancy)
            await self._group(tenancy, device)
        except (EmulatorRefused, AssertionError) as failed:  # the latter: a phone that never showed something
            raise DemonstrationFailed(str(failed)) from failed
        return Finale(device=device, to=VERA, text="echo Halo!", lines=self._instructions())

    async def _pair(self, tenancy: Tenancy) -> str:
        await self._whatsapp.contact(VERA, name="Vera", read=True, echo=True)
        await self._whatsapp.contact(BUDI, name="Budi", read=True)
        device = await tenancy.device("neonize")

        async def scan(qr: str) -> None:
            say(f"QR code shown by the API: {qr[:48]}…; scanned by the phone of {AYU}")
            await self._whatsapp.scan(qr, AYU, name="Ayu")

        await tenancy.connect(device, scan, within_s=LINKED_WITHIN_S)
        await tenancy.told("device.status", lambda data: data.get("status") == "CONNECTED")
        say("webhook device.status CONNECTED, signature verified")
        return device

    async def _text_out(self, tenancy: Tenancy, device: str) -> None:
        began = now()
        text = "Halo Vera, ini Kurir!"
        body = {"deviceId": device, "to": VERA, "text": text}
        sent = await tenancy.call("POST", "/messages/send-text", json=body)
        times = await _followed(tenancy, sent["id"], began)
        read = await self._whatsapp.until_read(VERA, await _whatsapp_id(tenancy, sent["id"]))
        _must(_text_of(read) == text, f"Vera's phone shows {read}")
        say(f"text out: {times}; Vera's phone shows {text!r}")

    async def _image_out(self, tenancy: Tenancy, device: str) -> None:
        began, picture = now(), PICTURE.read_bytes()
        form = {"deviceId": device, "to": VERA, "kind": "image", "caption": "Logo"}
        files = {"file": ("kurir.png", picture, "image/png")}
        sent = await tenancy.call("POST", "/messages/send-media", data=form, files=files)
        times = await _followed(tenancy, sent["id"], began)
        seen = await self._whatsapp.media(VERA, await _whatsapp_id(tenancy, sent["id"]))
        _must(seen == picture, "Vera's phone decrypted another picture")
        say(f"image out: {times}; Vera's phone decrypted the same {len(seen)} bytes")

    async def _text_in(self, tenancy: Tenancy) -> None:
        began = now()
        message = await self._whatsapp.say(VERA, AYU, text="Halo Ayu, apa kabar?")
        data = await _received(tenancy, message)
        _must(data["content"].get("conversation") == "Halo Ayu, apa kabar?", f"the webhook tells {data['content']}")
        say(f"text in: webhook message.received, signature verified, {_since(began)}: {data['content']}")

    async def _image_in(self, tenancy: Tenancy) -> None:
        began, picture = now(), PICTURE.read_bytes()
        message = await self._whatsapp.send_media(VERA, AYU, "image", picture, "image/png", caption="Untukmu")
        data = await _received(tenancy, message)
        url = str(data["media"]["url"]).removeprefix(tenancy.base_url)
        fetched = (await tenancy.fetch("GET", url)).content
        _must(fetched == picture, "the media store has another picture")
        say(f"image in: webhook message.received, signature verified, {_since(began)}; GET {url}: the same bytes")

    async def _group(self, tenancy: Tenancy, device: str) -> None:
        group = await self._whatsapp.create_group("Arisan", AYU, [VERA, BUDI])
        say(f"group created: Arisan, {group}, of Ayu, Vera and Budi")
        began = now()
        sent = await tenancy.call(
            "POST", "/messages/send-text", json={"deviceId": device, "to": group, "text": "Rapat?"}
        )
        times = await _followed(tenancy, sent["id"], began)
        whatsapp_id = await _whatsapp_id(tenancy, sent["id"])
        for phone in (VERA, BUDI):
            read = await self._whatsapp.until_read(phone, whatsapp_id)
            _must(_text_of(read) == "Rapat?", f"the phone of {phone} shows {read}")
        say(f"group message out: {times}; the phones of Vera and Budi show it")
        began = now()
        data = await _received(tenancy, await self._whatsapp.say(BUDI, group, text="Jam tujuh."))
        _must(data["remoteJid"] == group, f"the webhook tells of {data['remoteJid']}")
        say(f"group message in: webhook message.received, signature verified, {_since(began)}: {data['content']}")

    def _instructions(self) -> tuple[str, ...]:
        control = self._whatsapp.address.control
        command = "python -m tests.support.whatsapp_emulator"
        return (
            f"You are the phones now: a page at {control}, or from here (.venv/bin/{command} …):",
            f"  {command} say --phone {VERA} --to {AYU} 'Apa kabar?'",
            f"  {command} scan --phone 628111222334 --name Dewi '<the QR text of another device>'",
            f"  curl -s -X POST {control}/devices/{AYU}/remove        # Ayu unlinks the device",
            f"  curl -s -X POST {control}/devices/{AYU}/drop          # her connection is cut",
            f"  curl -s '{control}/journal?kinds=message.sent,message.read'",
            "Vera answers what begins with 'echo '. All of it: tests/support/whatsapp_emulator/README.md",
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="whatsapp_emulator.demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--once", action="store_true", help="stop after the demonstration")
    parser.add_argument("--shared-network", action="store_true", help="make no network namespace")
    parser.add_argument("--control-port", type=int, default=DEFAULT_CONTROL_PORT, help="of the emulator")
    arguments = parser.parse_args()
    options = ["--shared-network"] if arguments.shared_network else []
    try:
        return run(arguments.control_port, *options, once=arguments.once)
    except (PortOccupied, SettingsRefused, CannotStart) as why:
        say_plain(str(why))
        return 1


def run(control_port: int, *options: str, once: bool) -> int:
    """Returns the exit code; `options` are the emulator's. Raises CannotStart, PortOccupied or SettingsRefused."""
    if "NATS_URL" in os.environ:
        raise CannotStart("The session-node is put where it reaches the embedded NATS only: unset NATS_URL.")
    settings = load(UpSettings, state=load(UpSettings).state / "emulated")
    ensure_ports_free(settings)
    _ensure_no_other(control_port)
    # The emulator knows no device of former times, and a device of the real WhatsApp must never meet it.
    shutil.rmtree(settings.state, ignore_errors=True)
    emulator = EmulatorProcess(DEFAULT_FOLDER.absolute(), "--control-port", str(control_port), *options)
    emulator.folder.mkdir(parents=True, exist_ok=True)
    with emulator:
        say(f"WhatsApp emulator: {emulator.address.control} {_network(emulator)}")
        prefix = emulator.trusting(doors=[settings.nats_port], windows=[settings.health_ports + 1])
        return run_up(
            play=Play(emulator.client), once=once, state=settings.state, session_node_prefix=shlex.join(prefix)
        )


def _ensure_no_other(port: int) -> None:
    """Two in one folder would take each other's trust away. Raises CannotStart."""
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise CannotStart(f"Port {port} is taken: is another emulator running? Stop it, or give --control-port.")


def _network(emulator: EmulatorProcess) -> str:
    if emulator.address.network_of is not None:
        return "(the session-node is put where only loopback exists)"
    return (
        "- without a network namespace, which is not allowed here or was not wanted: the session-node shares this "
        "machine's network, and is kept from the real WhatsApp by its trust and its proxy alone"
    )


async def _followed(tenancy: Tenancy, message: str, began: Any) -> str:
    told = await tenancy.follow(message, began, "SENT", "DELIVERED", "READ")
    return ", ".join(f"{one.status} {one.after_ms:.0f} ms" for one in told) + " by signed webhooks"


async def _whatsapp_id(tenancy: Tenancy, message: str) -> str:
    sent = await tenancy.told("message.status", lambda data: data.get("id") == message and bool(data.get("messageId")))
    return str(sent.body["data"]["messageId"])


async def _received(tenancy: Tenancy, whatsapp_id: str) -> dict[str, Any]:
    arrived = await tenancy.told("message.received", lambda data: data.get("messageId") == whatsapp_id)
    data: dict[str, Any] = arrived.body["data"]
    return data


def _since(began: Any) -> str:
    return f"after {(now() - began).total_seconds() * 1000:.0f} ms"


def _text_of(message: dict[str, Any]) -> str | None:
    text = message.get("conversation") or message.get("extendedTextMessage", {}).get("text")
    return None if text is None else str(text)


def _must(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise DemonstrationFailed(otherwise)


if __name__ == "__main__":
    sys.exit(main())
