"""What everything stands on: clocks, the history database, the master key, and records that can be read."""

import contextlib
import statistics
from datetime import datetime

from msgspec import Struct

from kurir.cli.doctor.broker import shown
from kurir.contracts.records import ApiKey, Device, Endpoint, Holder, Session, Shard, Tenant
from kurir.runtime import topology
from kurir.runtime.clock import Clock
from kurir.runtime.diagnosis import Finding, NotAnswering, Scene, Verdict
from kurir.runtime.mongo import MongoError
from kurir.runtime.proxies import seal_context
from kurir.runtime.secrets import MasterKey, MasterKeyRefused, SealBroken, endpoint_context
from kurir.runtime.settings import mask_url_password

SKEW_WARN_S = 2.0
SKEW_FAIL_S = 30.0  # receivers refuse webhooks that are five minutes off, and commands expire by the api's clock
OPENED = 200  # sealed values that are tried: a key is right or wrong for all that it sealed


async def clocks(scene: Scene) -> list[Finding]:
    """This machine's clock, the NATS server's and MongoDB's, each against the middle of them."""
    own = scene.clock
    skews = {"this machine": 0.0}
    began = own.time()
    with contextlib.suppress(NotAnswering):
        info = await topology.stream_info(scene.bus, "KV_leases")
        if info is not None and "ts" in info:
            skews["the NATS server"] = _skew(datetime.fromisoformat(info["ts"]), began, own)
    with contextlib.suppress(MongoError):  # told of by its own check
        began = own.time()
        skews["MongoDB"] = _skew(await scene.mongo.server_time(), began, own)
    middle = statistics.median(skews.values())
    off = {whose: skew - middle for whose, skew in skews.items()}
    if len(skews) == 2:  # nobody can say which of the two is right
        off = {"this machine": -next(skew for whose, skew in skews.items() if whose != "this machine")}
    worst = max(off, key=lambda whose: abs(off[whose]))
    text = ", ".join(f"{whose} {skew:+.1f} s" for whose, skew in skews.items() if whose != "this machine")
    if abs(off[worst]) < SKEW_WARN_S:
        return [Finding("clocks", "ok", f"against this machine: {text or 'no other clock to compare with'}")]
    verdict: Verdict = "fail" if abs(off[worst]) >= SKEW_FAIL_S else "warn"
    cure = f"Let NTP (chrony, systemd-timesyncd) keep the clock of {worst}."
    return [Finding("clocks", verdict, f"{worst} is {off[worst]:+.1f} s off; against this machine: {text}", cure)]


def _skew(theirs: datetime, asked_at: float, own: Clock) -> float:
    """Seconds by which another clock is ahead of ours, as far as the way there and back lets one say."""
    return theirs.timestamp() - (asked_at + own.time()) / 2


async def history_database(scene: Scene) -> list[Finding]:
    """Whether MongoDB answers. That history is written, consumers and the dispatcher's own check tell."""
    where = mask_url_password(scene.settings.mongodb_url)
    try:
        await scene.mongo.ping()
    except MongoError as error:
        cure = (
            "Start MongoDB or correct MONGODB_URL. Sending and webhooks go on; history waits in its streams for up to "
            "seven days, and is then lost."
        )
        return [Finding("history database", "fail", f"{where}: {error}", cure)]
    return [Finding("history database", "ok", f"answers at {where}")]


async def master_key(scene: Scene) -> list[Finding]:
    """Whether there is a master key here, and whether it opens what is sealed."""
    try:
        key = MasterKey.load(scene.settings)
    except MasterKeyRefused as refused:
        cure = "Set KURIR_MASTER_KEY or KURIR_MASTER_KEY_FILE to the key that the api was first started with."
        return [Finding("master key", "fail", str(refused), cure)]
    sealed: list[tuple[str, str, str]] = []  # of what, the value, its context
    for entry in await scene.records("endpoints", Endpoint):
        context = endpoint_context(entry.value.tenant, entry.value.id)
        sealed += [(f"webhook {entry.value.id}", secret.sealed, context) for secret in entry.value.secrets]
    for device in await scene.records("devices", Device):
        if device.value.proxy is not None:
            context = seal_context(device.value.tenant, device.value.id)
            sealed.append((f"proxy of {device.value.id}", device.value.proxy.sealed, context))
    shut = []
    for whose, value, context in sealed[:OPENED]:
        try:
            key.open(value, context)
        except SealBroken:
            shut.append(whose)
    tried = min(len(sealed), OPENED)
    if shut:
        cure = (
            "Put back the key that sealed them, behind the new one and split by a comma, in KURIR_MASTER_KEY of every "
            "service; without it, these webhooks need new secrets and these devices their proxies anew."
        )
        return [Finding("master key", "fail", f"opens {tried - len(shut)} of {tried} values, not {shown(shut)}", cure)]
    return [
        Finding("master key", "ok", f"opens all of {tried} values" if tried else "well-formed; nothing is sealed yet")
    ]


async def records(scene: Scene) -> list[Finding]:
    """Whether this version reads what is kept."""
    types: dict[str, type[Struct]] = {
        "tenants": Tenant,
        "keys": ApiKey,
        "devices": Device,
        "endpoints": Endpoint,
        "sessions": Session,
        "leases": Holder,
        "shards": Shard,
    }
    count = sum([len(await scene.records(bucket, type_)) for bucket, type_ in types.items()])
    found = [
        Finding(
            "records",
            "fail",
            f"{len(keys)} entries of bucket {bucket} cannot be read: {shown(keys)}",
            "Another version wrote them, or a person: run one version everywhere, or delete them with `nats kv del`.",
        )
        for bucket, keys in scene.unreadable.items()
        if keys
    ]
    return found or [Finding("records", "ok", f"all {count} entries of {len(types)} buckets can be read")]
