"""What runs by itself, and how often. Only the leader keeps the timetable, so each job runs once at a time.

A job may be cancelled at any moment, when the leadership is lost or the process stops, and is run again by the next
leader: every job is written so that a repeat is harmless.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from kurir.runtime.lease import Lease
from kurir.runtime.logs import get
from kurir.runtime.metrics import Metrics

log = get("kurir.timetable")


class Job(Struct, frozen=True, kw_only=True):
    """`run` is awaited every `every_s` seconds, for at most `within_s`; its answer is a count for log and metric."""

    name: str
    every_s: float
    within_s: float
    run: Callable[[], Awaitable[int]]


class Timetable:
    """Runs its jobs while this process leads."""

    def __init__(self, jobs: Sequence[Job], metrics: Metrics) -> None:
        self._jobs = jobs
        names = tuple(job.name for job in jobs)
        self._runs = metrics.counter(
            "kurir_job_runs_total", "Runs of a job of the timetable", job=names, outcome=("done", "failed")
        )
        self._handled = metrics.counter("kurir_job_handled_total", "Things that a job dealt with", job=names)

    async def keep(self, lease: Lease) -> None:
        """Run every job at its interval until cancelled; the first run comes at once. For Leadership's `lead`."""
        log.info("timetable.leading", epoch=lease.token)
        async with asyncio.TaskGroup() as running:
            for job in self._jobs:
                running.create_task(self._repeat(job), name=f"job {job.name}")

    async def _repeat(self, job: Job) -> None:
        while True:
            await self._run_once(job)
            # Jitter, so that jobs of one interval drift apart instead of striking together.
            await asyncio.sleep(job.every_s * random.uniform(0.9, 1.1))

    async def _run_once(self, job: Job) -> None:
        try:
            async with asyncio.timeout(job.within_s):
                handled = await job.run()
        except Exception as error:
            # A job that fails is run again at its next time; the others go on.
            log.warning("job.failed", job=job.name, error=repr(error))
            self._runs.add(job=job.name, outcome="failed")
            return
        self._runs.add(job=job.name, outcome="done")
        self._handled.add(handled, job=job.name)
        log.debug("job.done", job=job.name, handled=handled)
