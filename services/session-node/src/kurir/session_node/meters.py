"""What a shard counts and measures."""

from typing import get_args

from kurir.contracts.queries import METHODS
from kurir.contracts.states import ConnectionState
from kurir.runtime.metrics import Counter, Metrics

OUTCOMES = ("sent", "failed", "unknown", "expired", "retrying", "settled_before", "invalid", "logged_out")


QUESTION_OUTCOMES = ("answered", "refused", "unanswered", "too_many")

FLUSH_S = 1.0


class Tally:
    """A count that costs an addition on the hot path; `flush` brings it to the metric."""

    def __init__(self, counter: Counter, **labels: str) -> None:
        self._counter = counter
        self._labels = labels
        self._count = 0

    def add(self, amount: int = 1) -> None:
        self._count += amount

    def flush(self) -> None:
        if self._count:
            count, self._count = self._count, 0
            self._counter.add(count, **self._labels)


class Meters:
    """Declared once per process; labels come from small fixed sets."""

    def __init__(self, metrics: Metrics) -> None:
        commands = metrics.counter("kurir_commands_total", "Commands by what came of them", outcome=OUTCOMES)
        self.commands = {outcome: Tally(commands, outcome=outcome) for outcome in OUTCOMES}
        self.send_seconds = metrics.histogram("kurir_engine_send_seconds", "How long the engine took to send")
        self.events = Tally(metrics.counter("kurir_events_total", "Events stored"))
        self.questions = metrics.counter(
            "kurir_questions_total",
            "Questions to devices by what came of them",
            method=tuple(METHODS),
            outcome=QUESTION_OUTCOMES,
        )
        self.unmatched_receipts = metrics.counter(
            "kurir_receipts_unmatched_total", "Receipts of messages that were not sent by us, or too long ago"
        )
        self.observations_dropped = metrics.counter(
            "kurir_observations_dropped_total", "What an engine reported while no more could be kept"
        )
        self.presence_dropped = metrics.counter(
            "kurir_presence_dropped_total", "Presence that was let go because more important reports waited"
        )
        self.connection_changes = metrics.counter(
            "kurir_connection_changes_total", "Connection changes by the state reached", state=get_args(ConnectionState)
        )
        self.leases_lost = metrics.counter("kurir_leases_lost_total", "Partitions lost instead of handed over")
        self.sessions_opened = metrics.counter("kurir_sessions_opened_total", "Sessions opened at an engine")
        self.silent_sessions = metrics.counter(
            "kurir_sessions_silent_total", "Sessions that said connected and answered nothing, and were opened again"
        )
        self.cordoned = metrics.gauge("kurir_node_cordoned", "1 while operators keep partitions away from this node")
        self.partitions = metrics.gauge("kurir_partitions_owned", "Partitions that this shard owns")

    def flush(self) -> None:
        """Bring the tallies up to date; every FLUSH_S is soon enough for whoever scrapes."""
        for tally in (self.events, *self.commands.values()):
            tally.flush()
