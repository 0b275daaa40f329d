"""How a process ends, seen from outside: a real process, real signals, its exit code and its log."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import httpx
import pytest

PREAMBLE = """
import asyncio, os, sys
from kurir.runtime.service import Lifetime, run
from kurir.runtime.settings import RuntimeSettings

class Part:
    def __init__(self, name): self.name = name
    async def start(self): print(f"start {self.name}", flush=True)
    async def stop(self): print(f"stop {self.name}", flush=True)

async def for_ever():
    await asyncio.Event().wait()
"""


class ServiceProcess:
    """A service written into a file and run; its output is read line by line as it comes."""

    def __init__(self, path: Path, source: str, **environment: str) -> None:
        path.write_text(PREAMBLE + textwrap.dedent(source))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("KURIR_")}
        self._process = subprocess.Popen(
            [sys.executable, path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**inherited, "LOG_FORMAT": "json", "LOG_LEVEL": "INFO", **environment},
        )
        self.lines: list[str] = []
        self._arriving: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._arriving.put(line.rstrip("\n"))

    def until(self, text: str, within_s: float = 30) -> str:
        """The next line that holds `text`."""
        while True:
            try:
                line = self._arriving.get(timeout=within_s)
            except Empty:
                raise AssertionError(f"never printed: {text}; so far: {self.lines}; {self.errors()}") from None
            self.lines.append(line)
            if text in line:
                return line

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def exit_code(self, within_s: float = 30) -> int:
        code = self._process.wait(within_s)
        self._reader.join(5)
        while not self._arriving.empty():
            self.lines.append(self._arriving.get())
        return code

    def errors(self) -> str:
        if self._process.poll() is None:
            return "still running"
        assert self._process.stderr is not None
        return self._process.stderr.read()

    def printed(self) -> list[str]:
        """What the service itself printed, log lines left out."""
        return [line for line in self.lines if not line.startswith("{")]

    def logged(self, words: str) -> dict[str, Any]:
        found: dict[str, Any] = next(
            event for line in self.lines if line.startswith("{") and (event := json.loads(line))["event"] == words
        )
        return found

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[..., ServiceProcess]]:
    started: list[ServiceProcess] = []

    def start(source: str, **environment: str) -> ServiceProcess:
        started.append(ServiceProcess(tmp_path / "a_service.py", source, **environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()


Service = Callable[..., ServiceProcess]

TWO_PARTS = """
async def start(life: Lifetime, settings: RuntimeSettings) -> None:
    await life.start("first", Part("first"))
    await life.start("second", Part("second"))
    life.spawn("work", for_ever())

run("demo", RuntimeSettings, start)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_parts_in_reverse_and_exits_clean(service: Service, number: signal.Signals) -> None:
    process = service(TWO_PARTS)
    process.until("service.started")
    process.send(number)
    assert process.exit_code() == 0
    assert process.printed() == ["start first", "start second", "stop second", "stop first"]
    assert process.logged("service.stopping")["signal"] == number.name
    assert process.logged("service.stopped")["in_time"] is True


def test_health_is_served_from_the_start_and_readiness_follows_the_life(service: Service, tmp_path: Path) -> None:
    go = tmp_path / "go"
    process = service(
        """
        async def start(life: Lifetime, settings: RuntimeSettings) -> None:
            while not os.path.exists(os.environ["GO"]):
                await asyncio.sleep(0.01)

        run("demo", RuntimeSettings, start)
        """,
        GO=str(go),
    )
    url = json.loads(process.until("service.starting"))["health_url"]
    assert httpx.get(f"{url}/health/live").status_code == 200
    assert httpx.get(f"{url}/health/ready").json()["failing"] == ["starting"]
    go.touch()
    process.until("service.started")
    assert httpx.get(f"{url}/health/ready").status_code == 200
    assert "process_cpu_seconds_total" in httpx.get(f"{url}/metrics").text


def test_a_service_that_waits_for_its_broker_can_be_stopped(service: Service) -> None:
    process = service(
        """
        async def start(life: Lifetime, settings: RuntimeSettings) -> None:
            await life.start("first", Part("first"))
            print("waiting", flush=True)
            await for_ever()

        run("demo", RuntimeSettings, start)
        """
    )
    process.until("waiting")
    process.send(signal.SIGTERM)
    assert process.exit_code() == 0
    assert process.printed() == ["start first", "waiting", "stop first"]


def test_a_second_signal_ends_the_process_at_once(service: Service) -> None:
    process = service(
        """
        async def start(life: Lifetime, settings: RuntimeSettings) -> None:
            life.on_stop("slow", for_ever)

        run("demo", RuntimeSettings, start)
        """
    )
    process.until("service.started")
    process.send(signal.SIGTERM)
    process.until("service.stopping")
    process.send(signal.SIGTERM)
    assert process.exit_code(10) == -signal.SIGTERM


def test_a_fault_the_loop_would_not_survive_ends_the_process_without_it(service: Service) -> None:
    process = service(
        """
        async def start(life: Lifetime, settings: RuntimeSettings) -> None:
            await life.start("first", Part("first"))
            life.end_now("the broker connection closed for good")

        run("demo", RuntimeSettings, start)
        """
    )
    assert process.exit_code() == 1
    assert process.printed() == ["start first"]
    assert "closed for good" in process.logged("service.ended")["reason"]


def test_wrong_settings_are_a_sentence_and_no_traceback(service: Service) -> None:
    process = service(TWO_PARTS, KURIR_HEALTH_PORT="eighty", KURIR_MASTER_KEY="hush")
    assert process.exit_code() == 2
    errors = process.errors()
    assert "kurir demo cannot start" in errors
    assert "KURIR_HEALTH_PORT" in errors
    assert "Traceback" not in errors


def test_the_start_up_log_names_the_settings_and_hides_the_secrets(service: Service) -> None:
    process = service(TWO_PARTS, KURIR_MASTER_KEY="hush-1", NATS_URL="nats://u:hush-2@bus:4222")
    process.until("service.started")
    settings = process.logged("service.starting")["settings"]
    assert settings["nats_url"] == "nats://u:***@bus:4222"
    assert not any("hush" in line for line in process.lines)
