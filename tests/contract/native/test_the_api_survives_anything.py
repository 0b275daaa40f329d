"""Whatever a caller sends to the native API, sense or nonsense, is answered, in its words and never as a fault of ours.

The requests are made up from the document that the api itself serves: what fits it, and what does not.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import hypothesis
import msgspec
import pytest
import schemathesis
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode, Response

from kurir.api.documents.openapi import document_bytes
from tests.support.connected_devices import running_gateway
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer

OPENS_A_STREAM = ("/events", "/devices/{deviceId}/events", "/export/events", "/export/attempts")
ENDS_THE_KEY = ("/auth/rotate-key",)
EXAMPLES = 20  # of each operation
HONEST_5XX = {"NOT_SUPPORTED", "SESSION_UNOWNED", "NO_ANSWER", "OUTCOME_UNKNOWN"}  # each with its sentence


class Running:
    """The api, a shard and their servers, in a thread of their own: what makes up the requests knows no event loop."""

    def __init__(self) -> None:
        self._end = threading.Event()
        self._started: Future[tuple[str, str, str, str]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def start(self) -> tuple[str, str, str, str]:
        """URL, a tenant's key, an operator's key, and the id of a connected device."""
        self._thread.start()
        return self._started.result(60)

    def stop(self) -> None:
        self._end.set()
        self._thread.join(60)

    async def _run(self) -> None:
        try:
            async with contextlib.AsyncExitStack() as stack:
                nats, mongo = NatsServer(), MongoServer()
                for server in (nats, mongo):
                    await server.start()
                    stack.push_async_callback(server.stop)
                gateway = await stack.enter_async_context(running_gateway(nats.url, mongo.url))
                tenant = await gateway.api.tenant(ratePerMinute=100_000)
                device = await gateway.connected(tenant)
                self._started.set_result((gateway.api.url, tenant.key, gateway.api.operator_key, device))
                await asyncio.to_thread(self._end.wait)
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            raise


@pytest.fixture(scope="module")
def system() -> Iterator[tuple[str, str, str, str]]:
    running = Running()
    try:
        yield running.start()
    finally:
        running.stop()


document = schemathesis.openapi.from_dict(msgspec.json.decode(document_bytes()))
OPERATIONS = [
    (path, method.upper())
    for path, methods in document.raw_schema["paths"].items()
    for method in methods
    if path not in (*OPENS_A_STREAM, *ENDS_THE_KEY) and method in ("get", "post", "put", "patch", "delete")
]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_no_request_ends_in_a_fault_of_ours(
    path: str, method: str, mode: GenerationMode, system: tuple[str, str, str, str]
) -> None:
    url, tenant_key, operator_key, device = system
    key = operator_key if path.startswith(("/tenants", "/operator")) else tenant_key

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,  # a finding is found again; other seeds are for who looks for more
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(document[path][method].as_strategy(generation_mode=mode))
    def is_answered(case: Case[Any]) -> None:
        if "deviceId" in case.path_parameters:
            case.path_parameters["deviceId"] = device  # past the 404, to what the operation does
        assert_told(case.call(base_url=url, headers={"X-API-Key": key}, timeout=60))

    try:
        is_answered()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # nothing of the operation can be wrong


def assert_told(answer: Response) -> None:
    assert answer.status_code != 500, answer.text
    if answer.status_code >= 400:
        told = answer.json()
        assert {"error", "code", "message"} <= told.keys(), told
        assert answer.status_code < 500 or told["code"] in HONEST_5XX, told
