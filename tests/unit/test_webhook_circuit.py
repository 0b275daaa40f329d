"""When an endpoint that fails again and again is left alone."""

from kurir.webhook_dispatcher.circuit import Circuit, CircuitSettings

PROBE_S = 20.0


def a_circuit() -> Circuit:
    return Circuit(CircuitSettings(threshold=3, first_s=30, longest_s=100))


def fail(circuit: Circuit, times: int, now: float) -> float | None:
    answers = [circuit.failed(now) for _ in range(times)]
    return answers[-1]


def test_single_failures_do_not_open_it() -> None:
    circuit = a_circuit()
    assert fail(circuit, 2, now=0) is None
    assert circuit.may_attempt(0, PROBE_S)
    circuit.succeeded()
    assert fail(circuit, 2, now=1) is None


def test_failures_in_a_row_open_it_for_a_while() -> None:
    circuit = a_circuit()
    assert fail(circuit, 3, now=10) == 30
    assert not circuit.may_attempt(10, PROBE_S)
    assert not circuit.may_attempt(39, PROBE_S)
    assert not circuit.is_probing


def test_after_the_pause_one_probe_is_let_through() -> None:
    circuit = a_circuit()
    fail(circuit, 3, now=0)
    assert circuit.may_attempt(30, PROBE_S)
    assert circuit.is_probing
    assert not circuit.may_attempt(30, PROBE_S)


def test_a_probe_that_fails_doubles_the_pause_up_to_a_limit() -> None:
    circuit = a_circuit()
    fail(circuit, 3, now=0)
    now = 30.0
    pauses = []
    for _ in range(3):
        assert circuit.may_attempt(now, PROBE_S)
        pause = circuit.failed(now)
        assert pause is not None
        pauses.append(pause)
        now += pause
    assert pauses == [60, 100, 100]


def test_what_was_under_way_when_it_opened_does_not_double_the_pause() -> None:
    circuit = a_circuit()
    fail(circuit, 3, now=0)
    assert fail(circuit, 5, now=1) is None
    assert circuit.may_attempt(30, PROBE_S)


def test_a_probe_that_is_lost_is_followed_by_another() -> None:
    circuit = a_circuit()
    fail(circuit, 3, now=0)
    assert circuit.may_attempt(30, PROBE_S)
    assert circuit.may_attempt(30 + PROBE_S, PROBE_S)


def test_a_success_closes_it() -> None:
    circuit = a_circuit()
    fail(circuit, 3, now=0)
    assert circuit.may_attempt(30, PROBE_S)
    assert circuit.succeeded() is True
    assert circuit.succeeded() is False
    assert circuit.may_attempt(30, PROBE_S)
    assert circuit.failures == 0
