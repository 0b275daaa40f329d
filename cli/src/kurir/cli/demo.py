"""What is played when the system is up: by default one message of a sandbox device, followed to its webhooks.

With the engine neonize a person pairs a phone, by a QR code in the terminal. Nothing is sent from that number then
but what the person sends.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from io import StringIO
from typing import Any

import segno
from msgspec import Struct
from rich.markup import escape
from rich.table import Table

from kurir.cli.console import console, say, say_plain
from kurir.cli.tenancy import TOLD_WITHIN_S, DemonstrationFailed, Tenancy, milliseconds, now

RECIPIENT = "6281234567890"
PAIRED_WITHIN_S = 30.0
SCANNED_WITHIN_S = 600.0  # four rounds of codes: to find the phone, and where it links devices

_BLACK_ON_WHITE, _RESET = "\x1b[97;40m", "\x1b[0m"  # segno draws the light modules: white, on black


class Finale(Struct, frozen=True, kw_only=True):
    """With what a person can go on: a message to send, and lines that say what else there is."""

    device: str
    to: str
    text: str
    lines: tuple[str, ...] = ()


Play = Callable[[Tenancy], Awaitable[Finale]]
"""A demonstration: acts as the tenant, and says what it sees. Raises DemonstrationFailed or TimeoutError."""


class Hop(Struct, frozen=True):
    """One step of the message's way; `after_ms` counts from the request."""

    what: str
    after_ms: float
    detail: str = ""


async def sandbox(tenancy: Tenancy) -> Finale:
    """Pair a sandbox device and send one message."""
    device = await tenancy.device("sandbox")

    async def scan(qr: str) -> None:
        say(f"QR code shown: {qr[:32]}…; scanning it as a phone would")
        await tenancy.call("POST", f"/devices/{device}/sandbox/scan")

    await tenancy.connect(device, scan, within_s=PAIRED_WITHIN_S)
    _show(await _send(tenancy, device))
    return Finale(device=device, to=RECIPIENT, text="echo Halo!")


async def real_phone(tenancy: Tenancy) -> Finale:
    """Let a person pair a phone."""
    device = await tenancy.device("neonize")

    async def show(qr: str) -> None:
        say_plain("\nOn your phone: WhatsApp, Linked devices, Link a device. A code lasts 20 to 60 seconds.\n")
        say_plain(qr_for_terminal(qr))

    number = await tenancy.connect(device, show, within_s=SCANNED_WITHIN_S)
    say("Nothing is sent from your number but what you send. What it receives is shown here.")
    return Finale(
        device=device,
        to=number,
        text="Halo dari Kurir!",
        lines=(
            "The line below writes to yourself. To end it all: unlink the device on your phone, or",
            f"curl -s -X POST {tenancy.base_url}/devices/{device}/logout -H 'X-API-Key: {tenancy.made.api_key}'",
        ),
    )


PLAYS: dict[str, Play] = {"sandbox": sandbox, "neonize": real_phone}
"""By the engine of the device."""


def qr_for_terminal(text: str) -> str:
    """A QR code of half blocks, black on white in any theme."""
    drawn = StringIO()
    segno.make(text, micro=False).terminal(out=drawn, border=2, compact=True)
    return "\n".join(f"{_BLACK_ON_WHITE}{line}{_RESET}" for line in drawn.getvalue().splitlines())


async def _send(tenancy: Tenancy, device: str) -> list[Hop]:
    """Send one message and follow it to the webhook that says it was read; its hops in order."""
    began = now()
    body = {"deviceId": device, "to": RECIPIENT, "text": "Halo dari Kurir!"}
    answer = await tenancy.call("POST", "/messages/send-text", json=body)
    hops = [Hop("api answered 2xx: the command is stored", milliseconds(began, now()), answer["status"])]
    for told in await tenancy.follow(answer["id"], began, "SENT", "DELIVERED", "READ"):
        what = f"webhook {told.arrived.event} received, signature verified"
        hops.append(Hop(what, told.after_ms, told.status))
    for fact in await _story(tenancy, answer["id"]):
        at = datetime.fromisoformat(fact["at"])
        hops.append(Hop(f"audit: {fact['kind']}", milliseconds(began, at), _detail(fact)))
    return sorted(hops, key=lambda hop: hop.after_ms)


async def _story(tenancy: Tenancy, message: str) -> list[dict[str, Any]]:
    """What the audit log knows of a message, once the attempt that told `read` is written."""
    async with asyncio.timeout(TOLD_WITHIN_S):
        while True:
            facts: list[dict[str, Any]] = []
            with contextlib.suppress(DemonstrationFailed):  # the history is behind by moments
                facts = (await tenancy.call("GET", f"/messages/{message}/story"))["facts"]
            if sum(fact["kind"] == "delivery.attempt" for fact in facts) >= 3:
                return facts
            await asyncio.sleep(0.1)


def _show(hops: list[Hop]) -> None:
    table = Table(title="The way of one message", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("after", justify="right")
    table.add_column("what")
    table.add_column("detail", style="dim")
    for hop in hops:
        table.add_row(f"{hop.after_ms:7.1f} ms", escape(hop.what), escape(hop.detail))
    console.print(table)
    console.print("[bold green]message delivered to webhook[/]")


def _detail(fact: dict[str, Any]) -> str:
    parts = (fact.get("status"), fact.get("outcome"), fact.get("httpStatus"), fact.get("reason"))
    return " ".join(str(part) for part in parts if part is not None)
