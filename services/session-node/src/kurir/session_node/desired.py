"""What to do next about a device: what is wanted against what is. Pure; session.py acts on it, again and again.

Devices wanted connected are brought back for ever. Not retried by themselves: logged out, replaced, outdated, banned
without an end, a QR code that ran out; these wait until the tenant asks for a fresh connect (`connect_generation`).
"""

import random
from datetime import datetime
from typing import Literal

from msgspec import Struct

from kurir.contracts.records import Device
from kurir.contracts.states import ConnectionState, Reason

FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 300.0
PATIENCE_S = 30.0  # an engine that was connected restores the connection itself, within seconds of the server's return
_ENDS: frozenset[ConnectionState] = frozenset({"logged_out", "replaced", "outdated", "passkey_required"})
_GIVEN_UP: frozenset[Reason] = frozenset({"qr_timeout", "pairing_failed"})
LIVE: frozenset[ConnectionState] = frozenset({"connecting", "qr", "pairing_code", "connected"})

Step = Literal["open", "reopen", "discard", "close", "adopt", "forget", "rest"]


class Standing(Struct, kw_only=True):
    """How a session is. `generation` is the `connect_generation` that `state` answers.

    `retry_at` is when a lost connection is given up and made anew, in seconds of the clock that `next_step` is asked
    with. `has_ended`: the engine session is over and only has to be put away. `is_choked`: events cannot be stored.
    `is_detoured`: the connection goes by another proxy than the device has now.
    """

    state: ConnectionState = "disconnected"
    reason: Reason | None = None
    generation: int = 0
    banned_until: datetime | None = None
    is_open: bool = False
    has_ended: bool = False
    is_choked: bool = False
    is_detoured: bool = False
    retry_at: float | None = None


def next_step(device: Device | None, standing: Standing, now: float, wall_now: datetime) -> tuple[Step, float | None]:
    """What to do now, and in how many seconds to ask again if nothing else happens (None: no need).

    `open` begin to connect · `reopen` put the engine session away and begin again · `discard` put it away silently ·
    `close` as the tenant wants · `adopt` a fresh connect was asked for and is what we have · `forget` the device is
    deleted · `rest` nothing to do.
    """
    if device is None:
        return "forget", None
    if standing.is_open and standing.has_ended:
        return "discard", None
    if device.wanted == "disconnected":
        return ("close" if standing.is_open or standing.state in LIVE else "rest"), None
    is_fresh = device.connect_generation > standing.generation
    if standing.is_open:
        return _while_open(standing, is_fresh, now)
    if standing.is_choked:
        return "rest", None
    if is_fresh:
        return "open", None
    if stays(standing):
        return "rest", None
    if standing.state == "banned" and standing.banned_until is not None:
        left = (standing.banned_until - wall_now).total_seconds()
        return ("open", None) if left <= 0 else ("rest", left)
    if standing.retry_at is not None and now < standing.retry_at:
        return "rest", standing.retry_at - now
    return "open", None


def _while_open(standing: Standing, is_fresh: bool, now: float) -> tuple[Step, float | None]:
    if standing.is_choked:
        return "discard", None
    if standing.is_detoured:
        return "reopen", None
    if is_fresh:
        return ("adopt" if standing.state == "connected" else "reopen"), None
    if standing.retry_at is None:
        return "rest", None
    return ("reopen", None) if now >= standing.retry_at else ("rest", standing.retry_at - now)


def stays(standing: Standing) -> bool:
    """Whether this state is not left without the tenant."""
    if standing.state in _ENDS:
        return True
    if standing.state == "banned":
        return standing.banned_until is None
    return standing.state == "disconnected" and standing.reason in _GIVEN_UP


def retry_pause_s(failures: int, jitter: float | None = None) -> float:
    """How long to wait after so many failed attempts in a row (from 1): 2 s, 4 s, … 300 s, plus or minus a fifth."""
    grown: float = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(max(failures, 1) - 1, 20))
    return grown * (0.8 + 0.4 * (random.random() if jitter is None else jitter))
