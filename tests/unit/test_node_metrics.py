"""The metrics of a node as one text."""

from kurir.runtime.metrics import Metrics
from kurir.session_node.node_metrics import merged, value_of


def an_exposition(sent: int) -> bytes:
    metrics = Metrics()
    metrics.counter("kurir_commands_total", "Commands", outcome=("sent", "failed")).add(sent, outcome="sent")
    metrics.gauge("kurir_partitions_owned", "Partitions").set(sent)
    metrics.histogram("kurir_engine_send_seconds", "Sends").observe(0.2)
    return metrics.exposition()


def test_each_series_says_whose_it_is() -> None:
    text = merged({"0": an_exposition(3), "1": an_exposition(4)}).decode()
    assert 'kurir_commands_total{shard="0",outcome="sent"} 3.0' in text
    assert 'kurir_commands_total{shard="1",outcome="sent"} 4.0' in text
    assert 'kurir_partitions_owned{shard="1"} 4.0' in text


def test_a_family_is_described_once_with_all_its_series_together() -> None:
    lines = merged({"0": an_exposition(3), "1": an_exposition(4)}).decode().splitlines()
    assert lines.count("# TYPE kurir_commands_total counter") == 1
    kinds = ("kurir_engine_send_seconds_bucket", "kurir_engine_send_seconds_sum", "kurir_engine_send_seconds_count")
    at = [n for n, line in enumerate(lines) if line.startswith(kinds)]
    assert at == list(range(at[0], at[0] + len(at)))
    assert lines[at[0] - 1].startswith("# TYPE kurir_engine_send_seconds")


def test_what_one_shard_alone_has_is_kept() -> None:
    text = merged({"0": b"", "1": an_exposition(1)}).decode()
    assert 'kurir_partitions_owned{shard="1"} 1.0' in text


def test_the_value_of_a_metric_is_the_sum_of_its_series() -> None:
    text = merged({"0": an_exposition(3), "1": an_exposition(4)})
    assert value_of(text, "kurir_commands_total") == 7
    assert value_of(an_exposition(5), "kurir_partitions_owned") == 5
    assert value_of(text, "kurir_commands") == 0
