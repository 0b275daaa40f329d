"""Metrics count what happens, and cannot explode into series."""

import pytest

from kurir.runtime.metrics import MAX_DERIVED_VALUES, Metrics


def lines(metrics: Metrics, start: str) -> list[str]:
    return [line for line in metrics.exposition().decode().splitlines() if line.startswith(start)]


def test_a_counter_counts_by_its_labels() -> None:
    metrics = Metrics()
    sends = metrics.counter("kurir_sends_total", "Messages sent.", outcome={"sent", "failed"}, kind={"text"})
    sends.add(outcome="sent", kind="text")
    sends.add(2, kind="text", outcome="sent")
    sends.add(outcome="failed", kind="text")
    assert lines(metrics, "kurir_sends_total{") == [
        'kurir_sends_total{kind="text",outcome="sent"} 3.0',
        'kurir_sends_total{kind="text",outcome="failed"} 1.0',
    ]


def test_a_value_that_was_not_declared_is_counted_as_other() -> None:
    metrics = Metrics()
    sends = metrics.counter("kurir_sends_total", "Messages sent.", outcome={"sent"})
    for number in range(1000):
        sends.add(outcome=f"+62811{number}")
    assert lines(metrics, "kurir_sends_total{") == ['kurir_sends_total{outcome="other"} 1000.0']


def test_subjects_are_counted_by_family() -> None:
    metrics = Metrics()
    published = metrics.counter("kurir_published_total", "Messages.", subject=lambda s: s.rpartition(".")[2])
    published.add(subject="kurir.cmd.1.acme.device-1.send")
    published.add(subject="kurir.cmd.2.acme.device-2.send")
    assert lines(metrics, "kurir_published_total{") == ['kurir_published_total{subject="send"} 2.0']


def test_a_family_function_that_does_not_fold_is_bounded_all_the_same() -> None:
    metrics = Metrics()
    published = metrics.counter("kurir_published_total", "Messages.", subject=str)
    for number in range(MAX_DERIVED_VALUES + 50):
        published.add(subject=f"device-{number}")
    series = lines(metrics, "kurir_published_total{")
    assert len(series) == MAX_DERIVED_VALUES + 1
    assert 'kurir_published_total{subject="other"} 50.0' in series


def test_wrong_labels_are_a_programming_error() -> None:
    sends = Metrics().counter("kurir_sends_total", "Messages sent.", outcome={"sent"})
    with pytest.raises(ValueError, match="outcome"):
        sends.add(device="d-1")


def test_a_name_is_declared_once() -> None:
    metrics = Metrics()
    metrics.counter("kurir_sends_total", "Messages sent.")
    with pytest.raises(ValueError, match="kurir_sends"):
        metrics.counter("kurir_sends_total", "Messages sent.")


def test_gauges_and_histograms_are_exposed() -> None:
    metrics = Metrics()
    metrics.gauge("kurir_sessions", "Sessions held.").set(3)
    metrics.gauge_from("kurir_queue_length", "Waiting.", lambda: 7)
    seconds = metrics.histogram("kurir_send_seconds", "Time to send.", buckets=(0.1, 1), kind={"text"})
    seconds.observe(0.5, kind="text")
    assert lines(metrics, "kurir_sessions ") == ["kurir_sessions 3.0"]
    assert lines(metrics, "kurir_queue_length ") == ["kurir_queue_length 7.0"]
    assert lines(metrics, "kurir_send_seconds_bucket") == [
        'kurir_send_seconds_bucket{kind="text",le="0.1"} 0.0',
        'kurir_send_seconds_bucket{kind="text",le="1.0"} 1.0',
        'kurir_send_seconds_bucket{kind="text",le="+Inf"} 1.0',
    ]


def test_the_process_is_measured_too() -> None:
    assert lines(Metrics(), "process_resident_memory_bytes ")


def test_two_registries_know_nothing_of_each_other() -> None:
    Metrics().counter("kurir_sends_total", "Messages sent.").add()
    assert not lines(Metrics(), "kurir_sends_total")
