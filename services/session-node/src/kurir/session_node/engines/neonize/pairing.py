"""Pairing in a process of its own that is thrown away afterwards.

A pairing that is not completed leaves a thread in the library that never ends, and its end is not reported. So a child
process shows the codes, writes the device's keys into the store and ends; the shard then logs in from the store.
What the new device receives meanwhile is passed on, none of it is lost.
"""

import asyncio
import base64
import contextlib
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec
from msgspec import Struct

from kurir.contracts.states import ConnectionState, Reason
from kurir.session_node.engines.engine import StateChanged

FIRST_CODE_S = 60.0  # WhatsApp's own times: six codes, 160 s in all
NEXT_CODE_S = 20.0
LIMIT_S = 300.0  # import, codes, the first login with its upload of keys, and the settings that the phone hands over
END_S = 5.0

_CHILD = ("-m", "kurir.session_node.engines.neonize.pairing_process")
_LINE_LIMIT = 4 * 1024 * 1024


class PairingOrder(Struct, frozen=True, kw_only=True):
    """What the child is to do. `phone` asks for a phone code instead of QR codes."""

    database: str
    device_name: str
    proxy: str | None
    phone: str | None


class PairingLine(Struct, frozen=True, kw_only=True):
    """One line from the child. An event has its number in `kind` and its protobuf in base64 in `text`."""

    what: Literal["qr", "code", "event", "paired", "failed"]
    text: str
    kind: int = 0
    reason: Reason = "pairing_failed"


class PairingFailed(Exception):
    """Nothing was paired; `state` says it to the tenant."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.state = StateChanged(state=_STATES.get(reason, "disconnected"), reason=reason, detail=detail)


_STATES: dict[Reason, ConnectionState] = {"client_outdated": "outdated", "passkey_required": "passkey_required"}


async def pair(order: PairingOrder, report: Callable[[StateChanged], None], hear: Callable[[int, bytes], None]) -> str:
    """Pair a new device and return its JID with device number. Raises PairingFailed.

    `report` gets each code to show, `hear` each event of the library. Cancelling ends the child.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *_CHILD,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=_LINE_LIMIT,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            return await _follow(child, order, report, hear)
    except TimeoutError as error:
        raise PairingFailed("pairing_failed", f"not finished within {LIMIT_S:.0f} s") from error
    finally:
        await _end(child)


async def _follow(
    child: asyncio.subprocess.Process,
    order: PairingOrder,
    report: Callable[[StateChanged], None],
    hear: Callable[[int, bytes], None],
) -> str:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(msgspec.json.encode(order) + b"\n")  # and stays open: its end tells the child that we are gone
    shown = 0
    async for raw in child.stdout:
        line = msgspec.json.decode(raw, type=PairingLine)
        match line.what:
            case "qr":
                valid_s = FIRST_CODE_S if shown == 0 else NEXT_CODE_S
                shown += 1
                expires_at = datetime.now(UTC) + timedelta(seconds=valid_s)
                report(StateChanged(state="qr", qr=line.text, qr_expires_at=expires_at))
            case "code":
                report(StateChanged(state="pairing_code", pairing_code=line.text))
            case "event":
                hear(line.kind, base64.b64decode(line.text))
            case "paired":
                return line.text
            case "failed":
                raise PairingFailed(line.reason, line.text)
    raise PairingFailed("pairing_failed", f"the pairing process ended with {await child.wait()}")


async def _end(child: asyncio.subprocess.Process) -> None:
    """Wait until the child has closed the store, and end it when it takes too long."""
    if child.stdin is not None:
        child.stdin.close()
    try:
        await asyncio.wait_for(asyncio.shield(child.wait()), END_S)
    except TimeoutError:
        await _kill(child)
    except asyncio.CancelledError:
        await _kill(child)
        raise


async def _kill(child: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.kill()
    await child.wait()
