"""Who has as much waiting as it may: by endpoint, by tenant, and by the room that is left."""

import pytest

from kurir.webhook_dispatcher.room import RoomSettings, Shares, over_their_share

GIB = 1024**3
SETTINGS = RoomSettings(max_pending=5_000_000, max_pending_bytes=8 * GIB, per_endpoint=250_000)


def test_with_room_for_all_an_endpoint_has_its_share_and_a_tenant_a_quarter() -> None:
    assert SETTINGS.shares(0, 0) == Shares(250_000, 1_187_500)


@pytest.mark.parametrize(("messages", "size"), [(4_500_000, 0), (0, round(7.2 * GIB))])
def test_shares_become_smaller_as_room_does_whether_by_number_or_by_size(messages: int, size: int) -> None:
    shares = SETTINGS.shares(messages, size)
    assert shares.of_tenant == pytest.approx(62_500)
    assert shares.of_endpoint == shares.of_tenant


def test_without_room_nobody_has_a_share_and_who_has_nothing_waiting_is_not_over_it() -> None:
    shares = SETTINGS.shares(6_000_000, 0)
    assert shares == Shares(0, 0)
    assert over_their_share({("t1", "a"): 0, ("t2", "b"): 1}, shares) == {"b"}


def test_an_endpoint_is_over_its_share_whatever_others_have() -> None:
    assert over_their_share({("t1", "a"): 100, ("t1", "b"): 99}, Shares(100, 1000)) == {"a"}


def test_of_a_tenant_that_has_too_much_those_that_have_most_are_over() -> None:
    waiting = {("t1", "a"): 90, ("t1", "b"): 80, ("t1", "c"): 5, ("t2", "d"): 90}
    assert over_their_share(waiting, Shares(100, 170)) == {"a", "b"}


def test_replays_may_fill_half_of_a_share() -> None:
    waiting = {("t1", "a"): 50, ("t2", "b"): 49}
    assert over_their_share(waiting, Shares(100, 1000), 0.5) == {"a"}
    assert over_their_share(waiting, Shares(100, 1000)) == set()


@pytest.mark.parametrize("tenants", [1, 10, 100, 1_000])
@pytest.mark.parametrize("endpoints", [1, 20])
def test_however_many_are_down_at_once_there_is_room_for_others(tenants: int, endpoints: int) -> None:
    settings = RoomSettings(max_pending=1_000_000, max_pending_bytes=8 * GIB, per_endpoint=100_000)
    waiting = {(f"t{n}", f"t{n}e{m}"): 0 for n in range(tenants) for m in range(endpoints)}
    step = max(1, 20_000 // len(waiting))  # what is fanned out for each between two counts
    for _ in range(200):
        full = over_their_share(waiting, settings.shares(sum(waiting.values()), 0))
        growing = [key for key in waiting if key[1] not in full]
        if not growing:
            break
        for key in growing:
            waiting[key] += step
    assert not growing, "in the end all of them are full"
    assert sum(waiting.values()) < settings.max_pending
