"""`kurir doctor`: looks at a whole system, says what is wrong and how it is cured."""

import asyncio
import sys

import click
import msgspec
from msgspec import Struct

from kurir.cli.doctor.examination import DoctorSettings, examine
from kurir.runtime import logs
from kurir.runtime.clock import SystemClock
from kurir.runtime.diagnosis import Finding, Verdict
from kurir.runtime.settings import SettingsRefused, load

BACKLOG_AGE_S = 60.0  # a queue that nobody has touched for a minute: a restart takes seconds
FAILED, MISCONFIGURED = 1, 2
_WORST: tuple[Verdict, ...] = ("fail", "warn", "ok")
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


class Report(Struct, frozen=True):
    verdict: Verdict
    findings: list[Finding]


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: verdict and findings.")
@click.option(
    "--backlog-age",
    "backlog_age_s",
    type=click.FloatRange(min=0),
    default=BACKLOG_AGE_S,
    show_default=True,
    help="Seconds that work may wait before nobody seems to do it.",
)
def doctor_command(as_json: bool, backlog_age_s: float) -> None:
    """Look at the whole system and say what is wrong and what cures it; changes nothing.

    Run it with the environment of a service, best on a session node, where the device store is. It ends within twenty
    seconds whatever is down. The exit code is 0 when nothing failed, 1 when something did, 2 when settings are wrong.
    """
    # A bus that is away is a finding, not a log line.
    logs.configure("doctor", "doctor", level="CRITICAL", form="console", stream=sys.stderr)
    try:
        settings = load(DoctorSettings)
    except SettingsRefused as refused:
        click.echo(str(refused), err=True)
        sys.exit(MISCONFIGURED)
    found = asyncio.run(examine(settings, SystemClock(), backlog_age_s=backlog_age_s))
    report = Report(next(v for v in _WORST if any(f.verdict == v for f in found)), found)
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        for finding in found:
            verdict = click.style(f"{finding.verdict:<4}", fg=_COLOURS[finding.verdict])
            click.echo(f"{verdict} {finding.check}: {finding.text}{f' → {finding.cure}' if finding.cure else ''}")
    sys.exit(FAILED if report.verdict == "fail" else 0)
