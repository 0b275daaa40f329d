"""What operators see of the dispatcher: its metrics, declared in one place."""

from kurir.contracts import streams, subjects
from kurir.contracts.deliveries import DeliveryAttempt
from kurir.runtime.metrics import Metrics
from kurir.webhook_dispatcher.outcome import ERRORS

_OUTCOMES = ("delivered", "retry", "dead", "disabled", "canceled", "failed")
_FAILURES = ("guard", "dns", "connect", "tls", "timeout", "reset", "protocol", "request", "secret", *ERRORS)

_FEEDING = (streams.FANOUT_CONSUMER, *map(streams.delivery_consumer, range(subjects.DELIVERY_PARTITIONS)))
_WRITERS = (streams.HISTORY_CONSUMER, streams.AUDIT_CONSUMER)


class Measures:
    """Counters and histograms of one dispatcher process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        attempt_seconds = metrics.histogram(
            "kurir_webhook_attempt_seconds",
            "Time of one attempt until its whole answer, by what was decided after it; its count is that of attempts",
            outcome=_OUTCOMES,
        )
        self._attempt_seconds = {outcome: attempt_seconds.series(outcome=outcome) for outcome in _OUTCOMES}
        self._failures = metrics.counter(
            "kurir_webhook_failures_total", "Attempts that failed, by the class of failure", error=_FAILURES
        )
        self._first_byte_seconds = metrics.histogram(
            "kurir_webhook_lag_seconds", "From the event in the stream to the start of its first request"
        ).series()
        self._fanned_out = metrics.counter("kurir_events_fanned_out_total", "Events that were matched to endpoints")
        self._deliveries = metrics.counter("kurir_deliveries_total", "Deliveries that came of events")
        self._dead = metrics.counter(
            "kurir_webhook_dead_total", "Messages that were given up", origin=("events", "deliveries", "audit")
        )
        self._backlog_full = metrics.counter(
            "kurir_webhook_backlog_full_total",
            "Deliveries that were given up before their first attempt, because too much waited for their endpoint",
        )
        self._facts = metrics.counter(
            "kurir_history_facts_total", "Facts written to the history", collection=("events", "attempts", "changes")
        )
        self._history_backlog = metrics.gauge(
            "kurir_history_backlog", "Messages that wait to be written to the history", consumer=_WRITERS
        )
        self._history_writing = metrics.gauge(
            "kurir_history_writing", "1 while MongoDB takes what there is", consumer=_WRITERS
        )
        self._circuits = metrics.counter("kurir_webhook_circuits_opened_total", "Times an endpoint's circuit opened")
        self.consumer_pending = metrics.gauge(
            "kurir_webhook_consumer_pending",
            "Messages that a consumer has not acknowledged: events to fan out, deliveries that are due",
            consumer=_FEEDING,
        )
        self.oldest = metrics.gauge(
            "kurir_webhook_oldest_seconds",
            "Age of the oldest event that waits: to be fanned out, for a dispatcher, for its endpoint, for a retry",
            waiting=("fanout", "due", "lane", "retry"),
        )
        self.pending_deliveries = metrics.gauge(
            "kurir_deliveries_pending", "Messages in DELIVERIES, scheduled ones included"
        )

    def attempted(self, attempt: DeliveryAttempt) -> None:
        self._attempt_seconds[attempt.outcome](attempt.milliseconds / 1000)
        if attempt.error is not None and attempt.outcome != "canceled":
            self._failures.add(error=attempt.error)
        if attempt.outcome in ("dead", "disabled"):
            self._dead.add(origin="deliveries")

    def first_byte(self, seconds: float) -> None:
        """Clocks of two machines differ: less than nothing counts as nothing."""
        self._first_byte_seconds(max(0.0, seconds))

    def fanned_out(self, events: int, deliveries: int) -> None:
        self._fanned_out.add(events)
        self._deliveries.add(deliveries)

    def gave_up(self, origin: str) -> None:
        self._dead.add(origin=origin)

    def backlog_full(self) -> None:
        self._backlog_full.add()
        self._dead.add(origin="deliveries")

    def wrote(self, collection: str, facts: int) -> None:
        self._facts.add(facts, collection=collection)

    def history(self, consumer: str, *, is_writing: bool, backlog: int) -> None:
        self._history_writing.set(float(is_writing), consumer=consumer)
        self._history_backlog.set(backlog, consumer=consumer)

    def circuit_opened(self) -> None:
        self._circuits.add()
