"""An examination: every check, each within its time, on whatever answers.

Guarantees: it ends within CONNECT_WITHIN_S and CHECK_WITHIN_S together, however much is down; each check has at least
one finding; nothing is changed. It sees one moment: what comes and goes within seconds is looked at twice.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import entry_points

from pydantic import Field, ValidationError

from kurir.cli.doctor.broker import consumers, dead_letters, room, streams
from kurir.cli.doctor.devices import devices
from kurir.cli.doctor.environment import clocks, history_database, master_key, records
from kurir.cli.doctor.partitions import leases, nodes, shards
from kurir.runtime.broker import Bus, PublishError, Unreachable
from kurir.runtime.clock import Clock
from kurir.runtime.diagnosis import Check, Finding, NotAnswering, Scene
from kurir.runtime.mongo import Mongo, MongoError
from kurir.runtime.settings import RuntimeSettings, SettingsRefused, mask_url_password

CONNECT_WITHIN_S = 5.0
CHECK_WITHIN_S = 12.0  # MongoDB's driver gives up after 10

OWN: Mapping[str, Check] = {
    "streams": streams,
    "consumers": consumers,
    "room": room,
    "dead letters": dead_letters,
    "shards": shards,
    "nodes": nodes,
    "leases": leases,
    "devices": devices,
    "clocks": clocks,
    "history database": history_database,
    "master key": master_key,
    "records": records,
}


class DoctorSettings(RuntimeSettings):
    """What the doctor needs besides what every service needs."""

    # http://host:8222: where the server says how much room its store has; a client is told of its own limits alone
    nats_monitoring_url: str | None = Field(None, validation_alias="NATS_MONITORING_URL")


async def examine(settings: DoctorSettings, clock: Clock, *, backlog_age_s: float) -> list[Finding]:
    """What is found, NATS first. `backlog_age_s` is how long work may wait before nobody seems to do it."""
    async with _scene(settings, clock, backlog_age_s) as (scene, of_nats):
        found = await asyncio.gather(*(_looked_at(name, check, scene) for name, check in _checks().items()))
    return [of_nats, *(finding for findings in found for finding in findings)]


def _checks() -> dict[str, Check]:
    brought = {entry.name: entry for entry in entry_points(group="kurir.checks")}
    return {**OWN, **{name: brought[name].load() for name in sorted(brought)}}


@asynccontextmanager
async def _scene(settings: DoctorSettings, clock: Clock, backlog_age_s: float) -> AsyncIterator[tuple[Scene, Finding]]:
    async with AsyncExitStack() as stack:
        bus: Bus | None = None
        where = mask_url_password(settings.nats_url)
        creds = str(settings.nats_creds) if settings.nats_creds else None
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                connecting = Bus.connect(settings.nats_url, name="kurir-doctor", creds=creds, on_closed=lambda: None)
                bus = await connecting
            stack.push_async_callback(bus.close)
            of_nats = Finding("nats", "ok", f"answers at {where}")
        except (TimeoutError, OSError, ValueError) as error:
            why = str(error) or f"no answer within {CONNECT_WITHIN_S:.0f} s"
            of_nats = Finding(
                "nats",
                "fail",
                f"{where}: {why}",
                "Start nats-server, or correct NATS_URL and NATS_CREDS; services come back by themselves.",
            )
        mongo = Mongo.connect(settings.mongodb_url, settings.mongo_driver, app_name="kurir-doctor")
        stack.push_async_callback(mongo.close)
        yield Scene(settings, bus, mongo, clock, backlog_age_s=backlog_age_s), of_nats


async def _looked_at(name: str, check: Check, scene: Scene) -> list[Finding]:
    try:
        async with asyncio.timeout(CHECK_WITHIN_S):
            return await check(scene)
    except NotAnswering as missing:
        return [Finding(name, "warn", f"not looked at: {missing}", "Cure that first, then ask again.")]
    except TimeoutError:
        return [Finding(name, "fail", f"no answer within {CHECK_WITHIN_S:.0f} s", "Look at the load of its server.")]
    except (PublishError, Unreachable) as error:
        cure = "Is JetStream enabled, and has `kurir topology apply` been run?"
        return [Finding(name, "fail", f"JetStream does not answer: {error}", cure)]
    except MongoError as error:
        return [Finding(name, "warn", f"not looked at: {error}", "See the history database.")]
    except (SettingsRefused, ValidationError) as error:
        return [Finding(name, "fail", f"settings refused: {error}", "Correct the variables that are named.")]
    except Exception as error:
        return [Finding(name, "fail", f"the check itself failed: {error!r}", "Report this as a fault of Kurir.")]
