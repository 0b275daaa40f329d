"""What of the other gateways' documents is shown by which test: a plugin that collects it from the marker `shows`.

With `--compatibility=write` the table goes into docs/tenants/compatibility.md after a run of the tests that show
something; with `--compatibility=check` the run fails when the table there is another. Either way an endpoint or field
that no passed test shows fails the run.
"""

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

DOCUMENTS = Path(__file__).with_name("documents.toml")
TABLE = Path(__file__).parents[3] / "docs" / "tenants" / "compatibility.md"
TITLES = {
    "evolution": "Evolution API",
    "baileys_gateway": "WhatsApp Gateway API (Baileys)",
    "rk_connect": "RK Connect",
    "device_gateway": "WA Gateway API (devices)",
    "fonnte": "Fonnte and its compatible dashboard",
}
INTRODUCTION = """# What of the other gateways' APIs works

Made by the test run (`make compatibility`) of the tests that show it; each name leads to a test that passed. First what
each gateway's own document names, then what its clients use beside that.
"""


class Row(NamedTuple):
    """One cell to fill: a field of an endpoint; "" is the endpoint itself."""

    dialect: str
    endpoint: str
    field: str


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--compatibility", choices=("write", "check"), help="write or check docs/tenants/compatibility.md")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--compatibility"):
        config.pluginmanager.register(Shown(config), "compatibility")


class Shown:
    """Hears of every test of the run, and tells at its end what they have shown."""

    def __init__(self, config: pytest.Config) -> None:
        self._writes = config.getoption("--compatibility") == "write"
        self._claimed: dict[str, list[Row]] = {}
        self._failed: set[str] = set()
        self._passed: set[str] = set()
        self._findings: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            rows = [row for mark in item.iter_markers("shows") for row in rows_of(*mark.args)]
            if rows:
                self._claimed[item.nodeid] = rows

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._passed.add(report.nodeid)
        elif not report.passed:
            self._failed.add(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        shown: dict[Row, set[str]] = defaultdict(set)
        for test, rows in self._claimed.items():
            if test in self._passed and test not in self._failed:
                for row in rows:
                    shown[row].add(test.partition("[")[0])
        documented = read_documents()
        self._findings = [f"no passed test shows {' '.join(row)}" for row in documented if not shown.get(row)]
        text = rendered(documented, shown)
        if not self._findings and self._writes:
            TABLE.write_text(text)
        elif not self._findings and (not TABLE.exists() or TABLE.read_text() != text):
            self._findings = [f"{TABLE.name} is not what the tests show; run 'make compatibility'"]
        if self._findings and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for finding in self._findings:
            terminalreporter.write_line(f"compatibility: {finding}", red=True)


def rows_of(dialect: str, endpoint: str, *fields: str) -> list[Row]:
    """What a marker claims. Raises UsageError for an unknown dialect."""
    if dialect not in TITLES:
        raise pytest.UsageError(f"shows: there is no dialect {dialect}")
    return [Row(dialect, endpoint, ""), *(Row(dialect, endpoint, field) for field in fields)]


def read_documents() -> list[Row]:
    """Every endpoint and field that the documents name, in their order."""
    documents: Mapping[str, Mapping[str, Mapping[str, list[str]]]] = tomllib.loads(DOCUMENTS.read_text())
    return [
        row
        for dialect, endpoints in documents.items()
        for endpoint, named in endpoints.items()
        for row in rows_of(dialect, endpoint, *named["fields"])
    ]


def rendered(documented: Iterable[Row], shown: Mapping[Row, set[str]]) -> str:
    """The page, the same for the same tests."""
    named = list(documented)
    beside = sorted(set(shown) - set(named))
    lines = [INTRODUCTION]
    for dialect, title in TITLES.items():
        lines += [f"## {title}", "", "| Endpoint | Field | Shown by |", "| --- | --- | --- |"]
        lines += [_line(row, shown) for row in named if row.dialect == dialect]
        more = [row for row in beside if row.dialect == dialect]
        if more:
            lines += ["", "Beside the document:", "", "| Endpoint | Field | Shown by |", "| --- | --- | --- |"]
            lines += [_line(row, shown) for row in more]
        lines.append("")
    return "\n".join(lines)


def _line(row: Row, shown: Mapping[Row, set[str]]) -> str:
    tests = sorted(shown.get(row, ()))
    links = [f"[{test.partition('::')[2]}](../../{test.partition('::')[0]})" for test in tests[:1]]
    return f"| `{row.endpoint}` | {f'`{row.field}`' if row.field else ''} | {' '.join(links)} |".replace("|  |", "| |")
