"""JetStream: does the server have what the code wants, is there room, and is what waits there being worked on?"""

import asyncio
import json
import urllib.request
from typing import Any

from kurir.contracts import streams as wanted
from kurir.contracts.streams import CONSUMERS, DEAD, KV_BUCKETS, OBJECT_BUCKETS, STREAMS, ConsumerSpec
from kurir.runtime import topology
from kurir.runtime.diagnosis import Finding, Scene

SHOWN = 8  # of many alike
FULL, NEARLY_FULL = 0.95, 0.8
DAY_S = 24 * 3600.0
UNFINISHED_AGE_S = 300.0  # of what is in work and is not to wait: the longest pause of a retry there is 30 s
MONITORING_TIMEOUT_S = 3.0

APPLY = "Run `kurir topology apply`."
_WORKERS = {
    wanted.COMMANDS.name: "session-node",
    wanted.FANOUT_CONSUMER: "webhook-dispatcher",
    wanted.HISTORY_CONSUMER: "webhook-dispatcher",
    wanted.AUDIT_CONSUMER: "webhook-dispatcher",
    wanted.DELIVERIES.name: "webhook-dispatcher",
    wanted.DUE_CONSUMER: "scheduler",
}
_OF_HISTORY = (wanted.HISTORY_CONSUMER, wanted.AUDIT_CONSUMER)


async def streams(scene: Scene) -> list[Finding]:
    """Streams, buckets and consumers against contracts.streams."""
    changes = await topology.differences(scene.bus)
    missing = [change.what for change in changes if change.text == topology.MISSING]
    found = [
        Finding(
            "streams",
            "fail",
            str(change),
            "It cannot be changed in place: stop the services, move what it holds elsewhere, delete it, and run "
            "`kurir topology apply`.",
        )
        for change in changes
        if change.is_conflict
    ]
    if missing:
        found.append(Finding("streams", "fail", f"missing: {shown(missing)}", APPLY))
    drifted = [str(change) for change in changes if not change.is_conflict and change.what not in missing]
    if drifted:
        found.append(Finding("streams", "warn", f"not as this version wants it: {shown(drifted)}", APPLY))
    buckets = len(KV_BUCKETS) + len(OBJECT_BUCKETS)
    all_well = (
        f"{len(STREAMS)} streams, {buckets} buckets and {len(CONSUMERS)} consumers are as this version wants them"
    )
    return found or [Finding("streams", "ok", all_well)]


async def consumers(scene: Scene) -> list[Finding]:
    """Whether what waits is taken, and what was taken is finished."""
    bus = scene.bus
    infos = await asyncio.gather(*(topology.consumer_info(bus, spec.stream, spec.name) for spec in CONSUMERS))
    known = [(spec, info) for spec, info in zip(CONSUMERS, infos, strict=True) if info is not None]
    looked = await asyncio.gather(*(_stuck(scene, spec, info) for spec, info in known))
    found = [finding for finding in looked if finding is not None]
    waiting = sum(info["num_pending"] for _, info in known)
    in_work = sum(info["num_ack_pending"] for _, info in known)
    return found or [Finding("consumers", "ok", f"{waiting} messages wait, {in_work} are in work, none for long")]


async def _stuck(scene: Scene, spec: ConsumerSpec, info: dict[str, Any]) -> Finding | None:
    worker = _WORKERS.get(spec.name) or _WORKERS[spec.stream]
    which = f"{spec.stream}/{spec.name}"
    if info["num_pending"]:
        age_s = await _age_of_first(scene, spec, info["delivered"]["stream_seq"] + 1)
        if age_s > scene.backlog_age_s:
            text = f"{which}: {info['num_pending']} messages wait, the oldest for {lasting(age_s)}"
            if info["num_waiting"]:
                cure = (
                    f"It is taken, but too slowly: look at the load and the log of the {worker}, or run more of them."
                )
            else:
                cure = f"Nobody takes it: start the {worker}, or look into its log."
            return Finding("consumers", "fail", text, _see_history(spec, cure))
    # Commands and deliveries may wait in their worker's hands for a device, a pace or the next attempt.
    if info["num_ack_pending"] and spec.stream not in (wanted.COMMANDS.name, wanted.DELIVERIES.name):
        age_s = await _age_of_first(scene, spec, info["ack_floor"]["stream_seq"] + 1)
        if age_s > max(UNFINISHED_AGE_S, scene.backlog_age_s):
            text = f"{which}: {info['num_ack_pending']} messages are in work, the oldest for {lasting(age_s)}"
            return Finding("consumers", "fail", text, _see_history(spec, f"Look into the log of the {worker}."))
    return None


def _see_history(spec: ConsumerSpec, cure: str) -> str:
    return f"{cure} While MongoDB is away, history waits here by itself." if spec.name in _OF_HISTORY else cure


async def _age_of_first(scene: Scene, spec: ConsumerSpec, seq: int) -> float:
    """How old the first message from `seq` on is that the consumer is for, in seconds; 0 when there is none."""
    first = await scene.bus.read_from(spec.stream, spec.filter_subject, seq, 1)
    return scene.clock.time() - first[0].published_at if first else 0.0


async def room(scene: Scene) -> list[Finding]:
    """How full the store is: streams with limits of their own, the account, and the server where it can be asked."""
    bus = scene.bus
    names = [
        *(spec.name for spec in STREAMS),
        *(f"KV_{bucket.name}" for bucket in KV_BUCKETS),
        *(f"OBJ_{bucket.name}" for bucket in OBJECT_BUCKETS),
    ]
    infos = await asyncio.gather(*(topology.stream_info(bus, name) for name in names))
    found = []
    for name, info in zip(names, infos, strict=True):
        if info is not None and info["config"].get("max_bytes", -1) > 0:
            share = info["state"]["bytes"] / info["config"]["max_bytes"]
            cure = f"Raise max_bytes of {name}, or make its readers keep up: when it is full it refuses or drops."
            found.append(_fullness(f"stream {name}", share, cure))
    account = await topology.account_info(bus)
    stores = [*_account_stores(account), *await _server_store(scene)]
    cure = "Give JetStream more disk (max_file of the server or the account's limit), or larger volumes."
    for what, used, whole in stores:
        found.append(_fullness(f"{what}, {_size(used)} of {_size(whole)}", used / whole, cure))
    if not stores:
        text = (
            f"{_size(int(account['storage']))} are stored; the account has no limit, and the server's disk is unknown"
        )
        cure = (
            "Give the account a limit (max_file), or set NATS_MONITORING_URL, e.g. http://nats:8222, to ask the server."
        )
        found.append(Finding("room", "warn", text, cure))
    return [finding for finding in found if finding.verdict != "ok"] or found[-1:]


Store = tuple[str, int, int]
"""Of what, bytes used, bytes there are."""


def _account_stores(account: dict[str, Any]) -> list[Store]:
    """What the account's own limits leave, which JetStream tells every client: one store, or one for each tier."""
    tiers = {f"the account's store for {tier}": part for tier, part in account.get("tiers", {}).items()}
    parts = tiers or {"the account's store": account}
    known = [(what, int(part["storage"]), int(part["limits"]["max_storage"])) for what, part in parts.items()]
    return [store for store in known if store[2] > 0]


async def _server_store(scene: Scene) -> list[Store]:
    """The whole server's, where it can be asked; what the account says is better than nothing."""
    url = getattr(scene.settings, "nats_monitoring_url", None)
    if not url:
        return []
    try:
        told = await asyncio.to_thread(_monitored, f"{url.rstrip('/')}/jsz")
        used, whole = int(told["storage"]), int(told["config"]["max_storage"])
    except (OSError, ValueError, KeyError):
        return []
    return [("the server's store", used, whole)] if whole > 0 else []


def _monitored(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=MONITORING_TIMEOUT_S) as answer:  # noqa: S310 - the operator's own URL
        told: dict[str, Any] = json.load(answer)
    return told


def _fullness(what: str, share: float, cure: str) -> Finding:
    if share >= NEARLY_FULL:
        return Finding("room", "fail" if share >= FULL else "warn", f"{what} is {share:.0%} full", cure)
    return Finding("room", "ok", f"{what} is {share:.0%} full")


async def dead_letters(scene: Scene) -> list[Finding]:
    """What was given up lately."""
    info = await topology.stream_info(scene.bus, DEAD.name)
    kept = info["state"]["messages"] if info is not None else 0
    if not kept:
        return [Finding("dead letters", "ok", "none")]
    fresh = await scene.bus.read_from(DEAD.name, "kurir.dead.>", 1, 100, since=scene.clock.time() - DAY_S)
    if not fresh:
        return [Finding("dead letters", "ok", f"{kept} kept, none of the last day")]
    number = "100 or more" if len(fresh) == 100 else str(len(fresh))
    origins = sorted({message.subject.split(".")[2] for message in fresh})
    return [
        Finding(
            "dead letters",
            "warn",
            f"{number} in the last day, of {', '.join(origins)}",
            "Read why in the header Kurir-Dead-Reason (`nats stream view DEAD`); deliveries are made again by "
            "POST /webhooks/{id}/replays once their receiver is well.",
        )
    ]


def shown(items: list[str]) -> str:
    """The first of many, and how many more."""
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + more


def lasting(seconds: float) -> str:
    """Seconds as a person reads them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _size(count: int) -> str:
    return f"{count / 1024**2:.0f} MB" if count < 10 * 1024**3 else f"{count / 1024**3:.0f} GB"
