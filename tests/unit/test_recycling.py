"""When a shard is replaced by a fresh process."""

from kurir.session_node.recycling import LOOKS, Limits, Vitals, Watch
from kurir.session_node.supervisor import LONGEST_PAUSE_S, restart_pause_s

LIMITS = Limits(age_s=1000.0, closed_clients=100, descriptors=500, memory_bytes=1_000_000)
OFF = Limits(age_s=0.0, closed_clients=0, descriptors=0, memory_bytes=0)
WELL = Vitals(age_s=10.0, closed_clients=5, descriptors=50, memory_bytes=1000)


def a_watch(limits: Limits = LIMITS, *, jitter: float = 0.5) -> Watch:
    return Watch(limits, jitter)


def test_a_shard_that_is_well_stays() -> None:
    watch = a_watch()
    assert [watch.look(WELL) for _ in range(3 * LOOKS)] == [None] * 3 * LOOKS


def test_each_limit_has_its_reason() -> None:
    assert a_watch().look(WELL._replace(closed_clients=100)) == "closed_clients"
    assert a_watch().look(WELL._replace(descriptors=500)) == "descriptors"
    assert a_watch().look(WELL._replace(age_s=1000.0)) == "age"


def test_memory_counts_when_it_stays_used() -> None:
    watch, much = a_watch(), WELL._replace(memory_bytes=1_000_000)
    assert [watch.look(much) for _ in range(LOOKS - 1)] == [None] * (LOOKS - 1)
    assert watch.look(WELL) is None
    assert [watch.look(much) for _ in range(LOOKS)] == [None] * (LOOKS - 1) + ["memory"]


def test_age_differs_by_a_fifth_between_shards_that_started_together() -> None:
    assert a_watch(jitter=0.0).look(WELL._replace(age_s=801.0)) == "age"
    assert a_watch(jitter=1.0).look(WELL._replace(age_s=1199.0)) is None
    assert a_watch(jitter=1.0).look(WELL._replace(age_s=1201.0)) == "age"


def test_a_limit_of_nothing_is_off() -> None:
    watch, worn = a_watch(OFF), Vitals(age_s=1e9, closed_clients=10**6, descriptors=10**6, memory_bytes=10**12)
    assert [watch.look(worn) for _ in range(2 * LOOKS)] == [None] * 2 * LOOKS


def test_pauses_grow_with_each_crash_up_to_a_limit() -> None:
    pauses = [restart_pause_s(crashes) for crashes in range(1, 12)]
    assert pauses[:3] == [0.2, 0.4, 0.8]
    assert pauses == sorted(pauses)
    assert pauses[-1] == restart_pause_s(10_000) == LONGEST_PAUSE_S
