"""The scheduler's composition root: read it and you know everything that it does."""

import click

from kurir.contracts.records import Tenant
from kurir.runtime.broker import Bus
from kurir.runtime.lease import Leadership
from kurir.runtime.mongo import Mongo
from kurir.runtime.registry import Registry
from kurir.runtime.service import Lifetime, run
from kurir.scheduler.jobs.retention import delete_old_history
from kurir.scheduler.jobs.scheduled_sends import ScheduledSends
from kurir.scheduler.settings import SchedulerSettings
from kurir.scheduler.timetable import Job, Timetable

HOUR_S = 3600.0


@click.command("scheduler")
def command() -> None:
    """Run the scheduler: scheduled sends, retention."""
    run("scheduler", SchedulerSettings, start)


async def start(life: Lifetime, settings: SchedulerSettings) -> None:
    """Connect, and start what is done by all replicas and what is done by the leader."""
    creds = str(settings.nats_creds) if settings.nats_creds else None
    bus = await Bus.connect(
        settings.nats_url,
        name="kurir-scheduler",
        creds=creds,
        on_closed=lambda: life.end_now("the connection to NATS closed for good"),
    )
    life.on_stop("bus", bus.close)
    life.health.ready_when("nats", lambda: bus.connected)
    mongo = Mongo.connect(settings.mongodb_url, settings.mongo_driver, app_name="kurir-scheduler")
    life.on_stop("mongo", mongo.close)

    life.spawn("scheduled sends", ScheduledSends(bus, life.clock, life.metrics).run())

    tenants = Registry(bus, "tenants", Tenant)
    await life.start("tenants", tenants)
    keep_days = {
        "events": settings.keep_events_days,
        "attempts": settings.keep_attempts_days,
        "changes": settings.keep_changes_days,
    }
    timetable = Timetable(
        [
            Job(
                name="retention",
                every_s=HOUR_S,
                within_s=HOUR_S / 2,
                run=lambda: delete_old_history(mongo, keep_days, [tenant for _, tenant in tenants.items()], life.clock),
            )
        ],
        life.metrics,
    )
    leadership = Leadership(
        bus,
        "leaders",
        "scheduler",
        holder=settings.node_name,
        node=settings.node_name,
        ttl_s=settings.leader_ttl_s,
        lead=timetable.keep,
    )
    life.metrics.gauge_from(
        "kurir_scheduler_is_leader", "1 while this process leads the timetable", lambda: float(leadership.is_leader)
    )
    await life.start("leadership", leadership)
