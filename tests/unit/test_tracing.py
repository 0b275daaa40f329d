"""A trace goes from the caller through our messages to the webhook; without an exporter it still passes through."""

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from kurir.runtime import tracing
from kurir.runtime.tracing import child_span, current_traceparent, traceparent_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
INCOMING = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    end = tracing.configure("test", "node-1", exporter=exporter)
    yield exporter
    end()


def spans_by_name(exported: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exported.get_finished_spans()}


def span_id(traceparent: str | None) -> int:
    assert traceparent is not None
    return int(traceparent.split("-")[2], 16)


def test_a_trace_is_continued_over_a_message_hop(exported: InMemorySpanExporter) -> None:
    message_headers: dict[str, str] = {}

    def accept(request_headers: dict[str, str]) -> None:
        with child_span("accept", traceparent_of(request_headers)):
            message_headers["traceparent"] = current_traceparent() or ""

    def deliver() -> str | None:
        with child_span("deliver", traceparent_of(message_headers), {"endpoint": "e-1"}) as span:
            span.set("outcome", "delivered")
            return current_traceparent()

    accept({"traceparent": INCOMING})
    sent_to_receiver = deliver()

    spans = spans_by_name(exported)
    accepted, delivered = spans["accept"], spans["deliver"]
    assert f"{accepted.context.trace_id:032x}" == f"{delivered.context.trace_id:032x}" == TRACE
    assert accepted.parent is not None
    assert accepted.parent.span_id == span_id(INCOMING)
    assert delivered.parent is not None
    assert delivered.parent.span_id == accepted.context.span_id
    assert span_id(sent_to_receiver) == delivered.context.span_id
    assert dict(delivered.attributes or {}) == {"endpoint": "e-1", "outcome": "delivered"}
    assert delivered.resource.attributes["service.name"] == "kurir-test"


def test_nested_spans_need_no_handing_over(exported: InMemorySpanExporter) -> None:
    with child_span("outer"):
        with child_span("inner"):
            pass
        with child_span("second"):
            pass
    spans = spans_by_name(exported)
    for name in ("inner", "second"):
        parent = spans[name].parent
        assert parent is not None
        assert parent.span_id == spans["outer"].context.span_id
    assert spans["outer"].parent is None


async def test_tasks_at_the_same_time_keep_their_own_traces(exported: InMemorySpanExporter) -> None:
    async def work(name: str, trace: str) -> str | None:
        with child_span(name, f"00-{trace}-00f067aa0ba902b7-01"):
            await asyncio.sleep(0)
            return current_traceparent()

    first, second = await asyncio.gather(work("a", "a" * 32), work("b", "b" * 32))
    assert first is not None
    assert second is not None
    assert first.split("-")[1] == "a" * 32
    assert second.split("-")[1] == "b" * 32


def test_an_exception_marks_the_span_and_goes_on(exported: InMemorySpanExporter) -> None:
    with pytest.raises(RuntimeError), child_span("deliver"):
        raise RuntimeError("receiver hung up")
    (span,) = exported.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.events[0].name == "exception"
    assert current_traceparent() is None


def test_a_trace_its_caller_does_not_sample_is_not_exported(exported: InMemorySpanExporter) -> None:
    with child_span("accept", INCOMING[:-2] + "00"):
        passed_on = current_traceparent()
    assert passed_on is not None
    assert passed_on.startswith(f"00-{TRACE}-")
    assert passed_on.endswith("-00")
    assert not exported.get_finished_spans()


def test_without_an_exporter_the_incoming_trace_passes_through_unchanged() -> None:
    tracing.configure("test", "node-1")()
    assert current_traceparent() is None
    with child_span("accept", INCOMING) as span:
        span.set("outcome", "queued")
        assert current_traceparent() == INCOMING
        with child_span("inner"):
            assert current_traceparent() == INCOMING
    assert current_traceparent() is None


def test_without_an_exporter_and_a_caller_who_traces_there_is_no_trace() -> None:
    with child_span("accept"):
        assert current_traceparent() is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "garbage",
        INCOMING.upper(),
        INCOMING[:-1],
        f"{INCOMING}-extra",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
    ],
)
def test_a_malformed_traceparent_is_as_good_as_none(value: str) -> None:
    assert traceparent_of({"traceparent": value}) is None


def test_no_headers_hold_no_traceparent() -> None:
    assert traceparent_of(None) is None
    assert traceparent_of({}) is None
    assert traceparent_of({"traceparent": INCOMING}) == INCOMING
