"""Traces from the HTTP request to the webhook, in the W3C `traceparent` form.

Off unless an exporter is configured; then a span is one context variable set and reset, and an incoming
traceparent still travels on unchanged, so that callers who trace see us as one hop. Spans are exported in batches
from a bounded queue, dropped when it is full, and never block. Does not carry `tracestate` or baggage.
"""

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # imported on `configure` alone: the SDK costs 0.2 s of start-up that most never use
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

TRACEPARENT: Final = "traceparent"

# https://www.w3.org/TR/trace-context/#traceparent-header-field-values; all-zero ids are invalid there
_VALID: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_current: ContextVar[str | None] = ContextVar("kurir_traceparent", default=None)
_tracer: "Tracer | None" = None


def configure(
    service: str, node: str, *, endpoint: str | None = None, exporter: "SpanExporter | None" = None
) -> Callable[[], None]:
    """Switch tracing on if there is somewhere to send spans, and return what flushes and ends it.

    `endpoint` is the base URL of an OTLP/HTTP collector; `exporter` replaces it, exporting each span at once (for
    tests). Sampling follows the SDK's own OTEL_TRACES_SAMPLER. The returned call blocks up to 5 s: run it in a
    thread.
    """
    global _tracer
    if endpoint is None and exporter is None:
        return lambda: None
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    provider = TracerProvider(
        resource=Resource.create({"service.name": f"kurir-{service}", "service.instance.id": node}),
        shutdown_on_exit=False,
    )
    if exporter is not None:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        url = f"{endpoint}".rstrip("/") + "/v1/traces"
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url, timeout=5)))
    _tracer = provider.get_tracer("kurir")

    def end() -> None:
        global _tracer
        _tracer = None
        provider.force_flush(5000)
        provider.shutdown()

    return end


def traceparent_of(headers: Mapping[str, str] | None) -> str | None:
    """The caller's traceparent in message or HTTP headers (lower-case names), or None if absent or malformed."""
    return valid_traceparent(headers.get(TRACEPARENT)) if headers else None


def valid_traceparent(value: str | None) -> str | None:
    """`value` when it has the form of a traceparent, else None."""
    return value if value is not None and _VALID.fullmatch(value) else None


def current_traceparent() -> str | None:
    """What to send along with whatever is published or requested now."""
    return _current.get()


class child_span:  # in small letters, as it is used like a function: `with child_span("deliver", traceparent):`
    """Context manager: a span under `traceparent`, or under the current span if that is None.

    Inside it `current_traceparent()` names this span (tracing on) or the incoming trace (off). An exception that
    leaves the block marks the span as failed. `attributes` are plain values: ids and kinds, never payloads.
    """

    __slots__ = ("_attributes", "_name", "_reset", "_span", "_traceparent")

    def __init__(self, name: str, traceparent: str | None = None, attributes: Mapping[str, Any] | None = None) -> None:
        self._name = name
        self._traceparent = traceparent
        self._attributes = attributes
        self._span: Span | None = None
        self._reset: Token[str | None] | None = None

    def __enter__(self) -> "child_span":
        if _tracer is None and self._traceparent is None:
            return self  # nothing changes inside
        parent = self._traceparent or _current.get()
        if _tracer is not None:
            self._span = _tracer.start_span(self._name, _context_of(parent), attributes=self._attributes)
            parent = _traceparent_of_span(self._span)
        self._reset = _current.set(parent)
        return self

    def set(self, name: str, value: str | bool | int | float) -> None:
        """Add a fact that became known inside the span, such as its outcome."""
        if self._span is not None:
            self._span.set_attribute(name, value)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._reset is not None:
            _current.reset(self._reset)
        if self._span is None:
            return
        if error is not None:
            from opentelemetry.trace import Status, StatusCode

            self._span.record_exception(error)
            self._span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        self._span.end()


def _context_of(traceparent: str | None) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if traceparent is None:
        return Context()
    _, trace_id, span_id, flags = traceparent.split("-")
    remote = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return set_span_in_context(NonRecordingSpan(remote), Context())


def _traceparent_of_span(span: "Span") -> str:
    made = span.get_span_context()
    return f"00-{made.trace_id:032x}-{made.span_id:016x}-{made.trace_flags:02x}"
