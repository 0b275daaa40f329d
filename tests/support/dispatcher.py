"""A webhook-dispatcher on a real broker: in this process, or as the process that an operator starts.

async with Stage(nats_server) as stage:
    endpoint = await stage.endpoint(receiver.url("/hook"))
    async with stage.dispatcher():
        event = await stage.say(a_message())
        (request,) = await receiver.wait_for(1)
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kurir.contracts import deliveries, events, ids, streams, subjects
from kurir.contracts.content import Address, Text
from kurir.contracts.deliveries import AuditFact, DeliveryAttempt
from kurir.contracts.records import Endpoint, EndpointState, SealedSecret
from kurir.runtime import topology
from kurir.runtime.broker import Bus, Stored
from kurir.runtime.progress import pending
from kurir.runtime.registry import Registry
from kurir.runtime.secrets import MasterKey, new_master_key
from kurir.runtime.service import Lifetime, live
from kurir.runtime.settings import load
from kurir.runtime.signing import new_webhook_secret
from kurir.webhook_dispatcher.app import start
from kurir.webhook_dispatcher.settings import DispatcherSettings
from tests.support.conditions import WITHIN_S, until
from tests.support.nats_server import NatsServer

NOWHERE = "mongodb://127.0.0.1:9/kurir"
"""Nobody listens there: MongoDB is away."""

STARTED_WITHIN_S = 30.0
STOPPED_WITHIN_S = 30.0
ALICE = Address(jid="628111222333@s.whatsapp.net", pn="628111222333@s.whatsapp.net")


def a_message(tenant: str = "t1", device: str = "d1", text: str = "Halo!", **fields: Any) -> events.MessageUpserted:
    """A received text."""
    now = datetime.now(UTC)
    return events.MessageUpserted(
        **{
            "id": ids.uuid7(),
            "tenant": tenant,
            "device": device,
            "at": now,
            "message_id": ids.uuid7(),
            "whatsapp_id": "3EB0",
            "chat": ALICE,
            "sender": ALICE,
            "content": Text(text=text),
            "sent_at": now,
            **fields,
        }
    )


class Stage:
    """Streams and buckets on one server, a bus to look at them, and what an api would have written."""

    def __init__(self, nats_server: NatsServer, mongo_url: str = NOWHERE) -> None:
        self.nats_server = nats_server
        self.mongo_url = mongo_url
        self.master_key_text = new_master_key()
        self.master_key = MasterKey.parse(self.master_key_text)
        self.secrets: dict[str, str] = {}
        """By endpoint id, as its tenant was shown it."""

    async def __aenter__(self) -> Self:
        self.bus = await Bus.connect(self.nats_server.url, name="stage")
        await topology.apply(self.bus)
        self.endpoints = Registry(self.bus, "endpoints", Endpoint)
        await self.endpoints.start()
        self.states = Registry(self.bus, "endpoint_state", EndpointState)
        await self.states.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.states.stop()
        await self.endpoints.stop()
        await self.bus.close()

    async def endpoint(self, url: str, tenant: str = "t1", **fields: Any) -> Endpoint:
        """Register a webhook, with a fresh secret unless `secrets` are given; `headers` as its tenant gave them."""
        now = datetime.now(UTC)
        identifier = fields.pop("id", None) or ids.short_id("we")
        self.secrets[identifier] = secret = new_webhook_secret()
        sealed = SealedSecret(id="s1", sealed=self.sealed(secret, tenant, identifier), created_at=now)
        given = {"url": url, "created_at": now, "updated_at": now, "secrets": (sealed,)}
        headers = {name: self.sealed(value, tenant, identifier) for name, value in fields.pop("headers", {}).items()}
        given["headers"] = headers
        endpoint = Endpoint(id=identifier, tenant=tenant, **{**given, **fields})
        await self.endpoints.put(f"{tenant}.{identifier}", endpoint)
        return endpoint

    def sealed(self, value: str, tenant: str, endpoint: str) -> str:
        """A secret of an endpoint as the api keeps it."""
        return self.master_key.seal(value, f"{tenant}/{endpoint}")

    async def say(self, event: events.Event) -> events.Event:
        """Publish an event as its owner would."""
        subject = subjects.event(event.tenant, event.device, events.type_of(event))
        await self.bus.publish(subject, events.encode(event), msg_id=event.id)
        return event

    async def facts(self) -> list[AuditFact]:
        """All that AUDIT holds, in order."""
        stored = await self.bus.read_from(streams.AUDIT.name, "kurir.aud.>", 1, 10_000)
        return [deliveries.decode_audit(each.data) for each in stored]

    async def attempts(self, where: Callable[[DeliveryAttempt], bool] = lambda _: True) -> list[DeliveryAttempt]:
        """The attempts in AUDIT that fit, in order."""
        return [fact for fact in await self.facts() if isinstance(fact, DeliveryAttempt) and where(fact)]

    async def attempts_until(self, count: int, within_s: float = WITHIN_S) -> list[DeliveryAttempt]:
        """The attempts in AUDIT, once there are `count`."""

        async def enough() -> bool:
            return len(await self.attempts()) >= count

        await until(f"{count} attempts in the audit", enough, within_s=within_s)
        return await self.attempts()

    async def dead(self) -> list[Stored]:
        """All that DEAD holds."""
        return await self.bus.read_from(streams.DEAD.name, "kurir.dead.>", 1, 10_000)

    async def waiting(self, stream: str = streams.DELIVERIES.name) -> int:
        """How many messages a stream holds."""
        return (await self.bus.js.stream_info(stream)).state.messages

    async def nothing_waits(self, within_s: float = WITHIN_S) -> None:
        """Return when every event is fanned out and DELIVERIES is empty: everything was delivered or given up."""

        async def is_empty() -> bool:
            is_fanned_out = not await pending(self.bus, streams.EVENTS.name, streams.FANOUT_CONSUMER)
            return is_fanned_out and await self.waiting() == 0

        await until("DELIVERIES is empty", is_empty, within_s=within_s)

    async def retry_waits(self, attempt: DeliveryAttempt) -> Stored:
        """What waits for the delivery's next time, once that is all that waits; recorded is it a moment before."""
        subject = subjects.delivery_retry(attempt.endpoint, attempt.delivery)
        found: list[Stored] = []

        async def is_scheduled() -> bool:
            scheduled = await self.bus.last_by_subject(streams.DELIVERIES.name, subject)
            found[:] = [scheduled] if scheduled is not None else []
            return bool(found) and await self.waiting() == 1

        await until("the retry alone waits", is_scheduled)
        return found[0]

    def settings(self, **overrides: Any) -> DispatcherSettings:
        """Quick retries, and webhooks to this machine allowed."""
        given = {
            "nats_url": self.nats_server.url,
            "mongodb_url": self.mongo_url,
            "master_key": self.master_key_text,
            "egress_allow": "127.0.0.1/32",
            "retry_schedule": "0.2,0.3",
        }
        return load(DispatcherSettings, **{**given, **overrides})

    @asynccontextmanager
    async def dispatcher(self, **overrides: Any) -> AsyncIterator[Lifetime]:
        """A dispatcher in this process, from ready to orderly stopped."""
        ready: asyncio.Future[Lifetime] = asyncio.get_running_loop().create_future()

        async def started(life: Lifetime, settings: DispatcherSettings) -> None:
            await start(life, settings)
            ready.set_result(life)

        living = asyncio.create_task(live("webhook-dispatcher", self.settings(**overrides), started))
        try:
            await asyncio.wait((living, ready), timeout=STARTED_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
            assert ready.done(), "the dispatcher did not start"
            yield ready.result()
        finally:
            if ready.done():
                ready.result().stop()
            code = await asyncio.wait_for(living, STOPPED_WITHIN_S)
        assert code == 0, f"the dispatcher ended with code {code}"

    @asynccontextmanager
    async def dispatcher_process(self, **environment: str) -> AsyncIterator["DispatcherProcess"]:
        """A dispatcher as a process of its own; killed at the end."""
        process = DispatcherProcess(self, environment)
        await process.start()
        try:
            yield process
        finally:
            process.kill()


class DispatcherProcess:
    """`kurir webhook-dispatcher` as an operator starts it."""

    def __init__(self, stage: Stage, environment: dict[str, str]) -> None:
        self._environment = {
            **os.environ,
            "NATS_URL": stage.nats_server.url,
            "MONGODB_URL": stage.mongo_url,
            "KURIR_MASTER_KEY": stage.master_key_text,
            "KURIR_EGRESS_ALLOW": "127.0.0.1/32",
            "KURIR_RETRY_SCHEDULE": "0.2,0.3",
            **environment,
        }
        self._stage = stage
        self._log = Path(tempfile.mkstemp(prefix="kurir-dispatcher-")[1])
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start, and return when it says that it is."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kurir.cli", "webhook-dispatcher"],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        await until(
            "the dispatcher has started",
            lambda: "service.started" in self.log() or not self.is_running,
            within_s=STARTED_WITHIN_S,
            seen=self.log,
        )
        assert self.is_running, self.log()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """What it has written since its latest start."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL, and gone when this returns."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)

    async def terminate(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.terminate()
        return await asyncio.to_thread(self._process.wait, STOPPED_WITHIN_S)
