"""Devices that their tenants want connected and that have not been for long, by what keeps them away."""

from collections import defaultdict

from kurir.cli.doctor.broker import lasting, shown
from kurir.contracts.records import Device, Session, Shard
from kurir.contracts.states import Reason
from kurir.runtime.diagnosis import Finding, Scene

AWAY_AGE_S = 600.0  # twice the longest pause between two attempts to connect

_OURS: dict[Reason, str] = {
    "no_capacity": "Run another session-node; or raise KURIR_SHARD_MAX_SESSIONS or KURIR_SHARDS where there is memory.",
    "engine_unavailable": "Install the engine on the session nodes; their log says session.engine_unavailable and why.",
    "device_store_unavailable": "Mount the volume of KURIR_DEVICE_STORE_DIR on every session node, or correct "
    "DEVICE_STORE_URL, where `kurir devices migrate` brings files. If the keys are lost, log the devices out.",
    "proxy_refused": "Give the session nodes the master key and KURIR_EGRESS_ALLOW, or the devices other proxies.",
}
_AWAITS_TENANT = "Nothing to do here: the tenant has to pair or connect the device again."
_NETWORK = "Look whether the session nodes reach WhatsApp, by KURIR_WHATSAPP_PROXY or the devices' own proxies."
_UNOWNED = "Nobody works on the device: see leases and shards, then the log of the session-node."
_TENANTS_STATES = ("logged_out", "banned", "replaced", "outdated", "passkey_required")
_PAIRING = ("qr", "pairing_code")


async def devices(scene: Scene) -> list[Finding]:
    """One finding for each state or reason that keeps devices away, ours before tenants'."""
    known = {entry.key: entry.value for entry in await scene.records("devices", Device)}
    sessions = {entry.key: entry.value for entry in await scene.records("sessions", Session)}
    alive = {entry.key for entry in await scene.records("shards", Shard)}
    now = scene.clock.now()
    wanted = {key: device for key, device in known.items() if device.wanted == "connected"}
    away: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
    for key, device in wanted.items():
        session = sessions.get(key)
        since = max(device.updated_at, session.at) if session is not None else device.updated_at
        age_s = (now - since).total_seconds()
        if age_s > AWAY_AGE_S and (why := _why_away(session, alive)) is not None:
            away[why].append((age_s, key))
    found = []
    for (text, cure), devices_ in sorted(away.items(), key=lambda item: item[0][1] == _AWAITS_TENANT):
        longest = sorted(devices_, reverse=True)
        names = shown([key for _, key in longest])
        said = f"{len(devices_)} wanted connected {text} for up to {lasting(longest[0][0])}: {names}"
        found.append(Finding("devices", "warn" if cure == _AWAITS_TENANT else "fail", said, cure))
    return found or [
        Finding("devices", "ok", f"{len(wanted)} of {len(known)} are wanted connected, none is away for long")
    ]


def _why_away(session: Session | None, alive: set[str]) -> tuple[str, str] | None:
    """What is said of it and the cure; None when it is connected."""
    if session is None:
        return "were never worked on", _UNOWNED
    if session.state == "connected":
        return None if session.shard in alive else ("are with a shard that is not alive", _UNOWNED)
    if (
        session.state in _TENANTS_STATES
        or session.state in _PAIRING
        or session.reason in ("qr_timeout", "pairing_failed")
    ):
        return f"are {session.state}", _AWAITS_TENANT
    reason = session.reason or "no reason given"
    return f"are {session.state} ({reason})", _OURS.get(session.reason, _NETWORK) if session.reason else _NETWORK
