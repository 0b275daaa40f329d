"""Structured logs: one line per outcome, with ids in fields and constant words.

JSON lines in production, readable lines on a console; the libraries' own (stdlib) logs come out in the same form.
Guarantees: fields named like secrets are masked wherever they are nested; volume is bounded, as lines with the
same words beyond a limit are left out and counted on the next one. Does not: inspect free text for secrets, other
than passwords in URLs; so put values into fields, never into the words.
"""

import logging
import re
import sys
import time
from collections.abc import Callable
from typing import Any, Final, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from kurir.runtime.settings import mask_url_password
from kurir.runtime.tracing import current_traceparent

LINES_PER_WINDOW: Final = 1000  # per words and window: 100 a second, far above what a person reads
WINDOW_S: Final = 10.0
WORDS_REMEMBERED: Final = 1000
MAX_TEXT: Final = 4000  # characters of one field: a traceback fits, a payload does not

# The last word of a field's name decides: api_key, X-API-Key and webhookSecret are secret, key_id and monkey are not.
_SECRET_NAME: Final = re.compile(
    r"(?:(?:^|[_\-. ])(?i:api)?(?i:key|secret|token|password|passwd|authorization|cookie|credential|cred)"
    r"|(?<=[a-z])(?:Key|Secret|Token|Password|Authorization|Cookie|Credential))(?i:s)?$"
)
_LOUD_LIBRARIES: Final = ("nats", "faststream", "pymongo", "motor", "uvicorn", "asyncio", "opentelemetry", "urllib3")


def configure(
    service: str, node: str, *, level: str = "INFO", form: str = "json", stream: TextIO | None = None
) -> None:
    """Set up all logging of this process, once, before anything logs.

    `form` is "json" or "console"; `stream` defaults to stdout. Every line carries `service` and `node`, what was
    bound with `structlog.contextvars` (request id, device), and the trace id if there is one.
    """
    lines_to = stream or sys.stdout
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _always(service=service, node=node),
        _add_trace_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,  # plain text: tracebacks that show locals show secrets
        tidy,
    ]
    render: list[Processor] = (
        [structlog.processors.JSONRenderer(serializer=_to_json)]
        if form == "json"
        else [structlog.dev.ConsoleRenderer(colors=lines_to.isatty())]
    )
    global _throttle
    _throttle = Throttle()
    structlog.configure(
        processors=[_throttle, _add_logger_name, *shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _NamedLogger(lines_to, *names),
        cache_logger_on_first_use=True,
    )
    _route_stdlib(shared, render, level, lines_to)


def get(name: str) -> Any:
    """A logger whose lines carry `logger=name`; safe to make at import, configured at first use."""
    return structlog.get_logger(name)


def is_left_out(level: str, words: str) -> bool:
    """Whether a line with these words would be left out now, because there were too many; it counts as one then.

    For lines told thousands of times a second: asked first, it saves gathering their facts for nothing.
    """
    return _throttle is not None and _throttle.is_full(level, words)


def tidy(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Processor: mask fields named like secrets and URL passwords, and cut very long text."""
    for name, value in event.items():
        event[name] = _tidied(name, value)
    return event


class Throttle:
    """Processor that lets through a limited number of lines with the same words per window.

    The first line of a later window says in `suppressed` how many were left out. Remembers a bounded number of
    words; when there are more it forgets them all, which only lets more lines through.
    """

    def __init__(
        self,
        limit: int = LINES_PER_WINDOW,
        window_s: float = WINDOW_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._window_s = window_s
        self._monotonic = monotonic
        self._seen: dict[tuple[Any, Any], tuple[float, int]] = {}  # words -> (start of window, lines in it)

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        # a library's words before its values were filled in, or each line would be one of its own
        record = event.get("_record")
        words = (method, event.get("event")) if record is None else (record.name, record.msg)
        now = self._monotonic()
        started, lines = self._seen.get(words, (now, 0))
        if now - started >= self._window_s:
            if lines > self._limit:
                event["suppressed"] = lines - self._limit
            started, lines = now, 0
        if words not in self._seen and len(self._seen) >= WORDS_REMEMBERED:
            self._seen.clear()
        self._seen[words] = (started, lines + 1)
        if lines >= self._limit:
            raise structlog.DropEvent
        return event

    def is_full(self, level: str, words: str) -> bool:
        """Whether a line would be left out now; then it is counted as left out."""
        started, lines = self._seen.get((level, words), (0.0, 0))
        if lines < self._limit or self._monotonic() - started >= self._window_s:
            return False
        self._seen[level, words] = (started, lines + 1)
        return True


_throttle: Throttle | None = None  # that of `configure`


class _NamedLogger(structlog.WriteLogger):
    def __init__(self, stream: TextIO, name: str = "kurir") -> None:
        super().__init__(stream)
        self.name = name


def _add_logger_name(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["logger"] = logger.name
    return event


def _always(**fields: str) -> Processor:
    """Add fields that belong to the process; context variables would be missing in library threads."""

    def add(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        for name, value in fields.items():
            event.setdefault(name, value)
        return event

    return add


def _add_trace_id(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    traceparent = current_traceparent()
    if traceparent is not None:
        event.setdefault("trace_id", traceparent[3:35])
    return event


def _tidied(name: str, value: Any) -> Any:
    if _SECRET_NAME.search(name) and value is not None:
        return "***"
    if isinstance(value, str):
        text = value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}… ({len(value)} characters)"
        return mask_url_password(text) if "://" in text and "@" in text else text
    if isinstance(value, dict):
        return {inner: _tidied(str(inner), kept) for inner, kept in value.items()}
    if isinstance(value, list | tuple):
        return [_tidied(name, item) for item in value]
    return value


def _to_json(event: EventDict, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def _route_stdlib(shared: list[Processor], render: list[Processor], level: str, stream: TextIO) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    handler.addFilter(_StdlibThrottle())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _LOUD_LIBRARIES:  # their INFO narrates every request; ours says what came of it
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))


class _StdlibThrottle(logging.Filter):
    """The same bound for library logs, which must be dropped before a handler formats them."""

    def __init__(self) -> None:
        super().__init__()
        self._throttle = Throttle()

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            self._throttle(None, record.levelname, {"_record": record})
        except structlog.DropEvent:
            return False
        return True
