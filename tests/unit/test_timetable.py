"""What runs by itself: each job at its interval, none stopped by another's failure, all ended with the leadership."""

import asyncio

from kurir.runtime.metrics import Metrics
from kurir.scheduler.timetable import Job, Timetable
from tests.support.conditions import until


class _Token:
    token = 1


async def test_a_job_that_fails_is_run_again_and_hinders_no_other() -> None:
    ran: list[str] = []

    async def good() -> int:
        ran.append("good")
        return 1

    async def bad() -> int:
        ran.append("bad")
        raise RuntimeError("no")

    metrics = Metrics()
    jobs = [Job(name=name, every_s=0.01, within_s=1, run=run) for name, run in (("good", good), ("bad", bad))]
    keeping = asyncio.create_task(Timetable(jobs, metrics).keep(_Token()))  # type: ignore[arg-type]
    await until("both ran three times", lambda: ran.count("good") >= 3 and ran.count("bad") >= 3)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    count = len(ran)
    await asyncio.sleep(0.05)
    assert len(ran) == count
    assert 'kurir_job_runs_total{job="bad",outcome="failed"}' in metrics.exposition().decode()


async def test_a_job_that_hangs_is_ended_at_its_limit_and_counted_as_failed() -> None:
    started: list[int] = []

    async def hangs() -> int:
        started.append(1)
        await asyncio.Event().wait()
        return 0

    job = Job(name="hangs", every_s=0.01, within_s=0.02, run=hangs)
    keeping = asyncio.create_task(Timetable([job], Metrics()).keep(_Token()))  # type: ignore[arg-type]
    await until("it was started again", lambda: len(started) >= 2)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
