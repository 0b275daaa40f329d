"""What a shard counts and measures."""

from typing import get_args

from kurir.contracts.states import ConnectionState
from kurir.runtime.metrics import Metrics

OUTCOMES = ("sent", "failed", "unknown", "expired", "retrying", "settled_before", "invalid", "logged_out")


class Meters:
    """Declared once per process; labels come from small fixed sets."""

    def __init__(self, metrics: Metrics) -> None:
        self.commands = metrics.counter("kurir_commands_total", "Commands by what came of them", outcome=OUTCOMES)
        self.send_seconds = metrics.histogram("kurir_engine_send_seconds", "How long the engine took to send")
        self.events = metrics.counter("kurir_events_total", "Events stored")
        self.unmatched_receipts = metrics.counter(
            "kurir_receipts_unmatched_total", "Receipts of messages that were not sent by us, or too long ago"
        )
        self.observations_dropped = metrics.counter(
            "kurir_observations_dropped_total", "What an engine reported while no more could be kept"
        )
        self.connection_changes = metrics.counter(
            "kurir_connection_changes_total", "Connection changes by the state reached", state=get_args(ConnectionState)
        )
        self.leases_lost = metrics.counter("kurir_leases_lost_total", "Partitions lost instead of handed over")
        self.partitions = metrics.gauge("kurir_partitions_owned", "Partitions that this shard owns")
