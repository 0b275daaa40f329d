"""The scheduler as `kurir doctor` looks at it: does one lead, and does old history go?"""

from kurir.contracts.records import Holder, Tenant
from kurir.runtime.diagnosis import Finding, Scene
from kurir.runtime.settings import load
from kurir.scheduler.settings import SchedulerSettings

LATE_DAYS = 1  # retention runs hourly; after a long pause it takes a while to catch up
_DAY_MS = 24 * 3600 * 1000


async def leader(scene: Scene) -> list[Finding]:
    """Raises NotAnswering or PublishError."""
    leads = [entry.value.holder for entry in await scene.read("leaders", Holder) if entry.key == "scheduler"]
    if not leads:
        cure = "Start a scheduler: without one, scheduled messages are late and old history stays."
        return [Finding("scheduler", "fail", "nobody leads", cure)]
    return [Finding("scheduler", "ok", f"{leads[0]} leads")]


async def retention(scene: Scene) -> list[Finding]:
    """Raises MongoError when the database does not answer, NotAnswering when tenants' policies are not to be had."""
    settings = load(SchedulerSettings)
    tenants = [entry.value.keep_days or 0 for entry in await scene.records("tenants", Tenant)]
    days = {
        "events": max([settings.keep_events_days, *tenants]),
        "attempts": max([settings.keep_attempts_days, *tenants]),
        "changes": settings.keep_changes_days,
    }
    late = []
    for collection, kept in days.items():
        oldest = await scene.mongo.find_one(collection, {}, sort=[("at_ms", 1)], projection=["at_ms"])
        age_ms = scene.clock.time() * 1000 - oldest["at_ms"] if oldest is not None else 0.0
        if age_ms > (kept + LATE_DAYS) * _DAY_MS:
            late.append(f"{collection} reach back {age_ms / _DAY_MS:.0f} days instead of {kept}")
    if late:
        cure = (
            "Look into the scheduler's log for the job `retention`; is a scheduler running, with the same KURIR_KEEP_…?"
        )
        return [Finding("retention", "warn", "; ".join(late), cure)]
    return [Finding("retention", "ok", "no history is older than it is kept")]
