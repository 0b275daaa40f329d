"""Leases against a real server: one holder, takeover, and a holder that knows in time that it is none."""

import asyncio
import contextlib
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from kurir.runtime import keyvalue
from kurir.runtime.broker import BrokerUnavailable, Bus, PublishError
from kurir.runtime.kill_timer import KillTimer
from kurir.runtime.lease import Leadership, Lease, LeaseKeeper, LeaseLost
from tests.support.conditions import until
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import is_alive

BUCKET = "leases"
HOLDER_PROGRAM = Path(__file__).parent.parent / "support" / "lease_holder.py"

LeaseOf = Callable[..., Lease]


@pytest.fixture
async def bucket(bus: Bus) -> str:
    await bus.js.create_key_value(bucket=BUCKET, direct=True)
    return BUCKET


@pytest.fixture
def lease_of(bus: Bus, bucket: str) -> LeaseOf:
    def make(holder: str, key: str = "p00", ttl_s: int = 2, via: Bus = bus) -> Lease:
        return Lease(via, bucket, key, holder=holder, node="node", ttl_s=ttl_s)

    return make


async def has_claimed(lease: Lease) -> bool:
    """Whether it is ours now; a claim that was not answered in time is made again by whoever waits."""
    try:
        return await lease.claim()
    except PublishError:
        return False


async def test_of_many_claimants_exactly_one_wins(lease_of: LeaseOf) -> None:
    claimants = [lease_of(f"h{n}", ttl_s=10) for n in range(20)]
    won = await asyncio.gather(*(lease.claim() for lease in claimants))
    assert won.count(True) == 1
    assert [lease.valid() for lease in claimants] == won


async def test_an_expired_lease_is_taken_over_with_a_higher_token(lease_of: LeaseOf) -> None:
    first, second = lease_of("first"), lease_of("second")
    assert await first.claim()
    assert not await second.claim()
    await until("the second has it", lambda: has_claimed(second))
    assert not first.valid()
    assert second.valid()
    assert second.token > first.token
    with pytest.raises(LeaseLost):
        await first.renew()


async def test_the_holder_knows_before_anybody_else_can_claim(lease_of: LeaseOf) -> None:
    first, second = lease_of("first"), lease_of("second")
    assert await first.claim()
    while first.valid():
        assert not (await has_claimed(second) and first.valid())


async def test_a_released_lease_is_free_at_once(lease_of: LeaseOf) -> None:
    first, second = lease_of("first", ttl_s=60), lease_of("second", ttl_s=60)
    assert await first.claim()
    await first.release()
    assert not first.valid()
    assert await second.claim()
    assert second.token > first.token
    await first.release()
    await first.release()
    assert second.valid()
    await second.renew()


async def test_renewing_keeps_the_lease_and_its_token_but_does_not_make_it_eternal(lease_of: LeaseOf) -> None:
    first, second = lease_of("first"), lease_of("second")
    assert await first.claim()
    token = first.token
    began = time.monotonic()
    while time.monotonic() - began < 4.5:
        await first.renew()
        assert first.valid()
        assert not await second.claim()
        await asyncio.sleep(0.1)
    assert first.token == token
    assert first.revision > token
    await until("it expires when it is not renewed", lambda: has_claimed(second))


async def test_a_renewal_that_was_stored_but_never_confirmed_does_not_lose_the_lease(
    bus: Bus, lease_of: LeaseOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = lease_of("first", ttl_s=10)
    publish = bus.publish

    async def unconfirmed(*args: object, **kwargs: object) -> None:
        await publish(*args, **kwargs)  # type: ignore[arg-type]
        raise BrokerUnavailable("no answer in time", outcome_unknown=True)

    async def once(step: Callable[[], object]) -> None:
        monkeypatch.setattr(bus, "publish", unconfirmed)
        with pytest.raises(BrokerUnavailable):
            await step()  # type: ignore[misc]
        monkeypatch.setattr(bus, "publish", publish)

    await once(lease.claim)
    assert not lease.valid()
    assert await lease.claim()
    await once(lease.renew)
    await lease.renew()
    assert lease.valid()
    await once(lease.renew)
    await lease.release()
    assert await lease_of("second").claim()


async def test_a_margin_without_time_to_renew_is_refused(bus: Bus) -> None:
    with pytest.raises(ValueError, match="margin"):
        Lease(bus, BUCKET, "k", holder="h", node="n", ttl_s=3, margin_s=2)


async def test_a_process_frozen_beyond_its_lease_does_not_act_when_it_wakes(
    nats_server: NatsServer, lease_of: LeaseOf
) -> None:
    """A child holds the lease and works; SIGSTOP until another has claimed, then SIGCONT: it must not work again."""
    holder = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HOLDER_PROGRAM),
        nats_server.url,
        BUCKET,
        "p00",
        "child",
        "3",
        stdout=asyncio.subprocess.PIPE,
    )
    assert holder.stdout is not None
    try:
        async with asyncio.timeout(30):
            while not (await holder.stdout.readline()).startswith(b"worked"):
                pass
            holder.send_signal(19)  # SIGSTOP
            successor = lease_of("parent", ttl_s=30)
            await until("the lease was taken over", successor.claim)
            claimed_at = time.monotonic_ns()
            holder.send_signal(18)  # SIGCONT
            said = (await holder.stdout.read()).decode().splitlines()
            assert await holder.wait() == 0
    finally:
        if holder.returncode is None:
            holder.kill()
            await holder.wait()
    acts = [line.split() for line in said if line.startswith(("worked", "refused"))]
    assert acts[-1][0] == "refused"
    assert int(acts[-1][1]) > claimed_at
    assert [act for act in acts if act[0] == "worked" and int(act[1]) > claimed_at] == []


@pytest.mark.skipif(not KillTimer().works, reason="the kernel has no such timer")
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGUSR1], ids=["frozen", "stuck"])
async def test_a_process_that_stands_still_is_ended_before_another_can_claim_its_lease(
    how: signal.Signals, nats_server: NatsServer, lease_of: LeaseOf
) -> None:
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, str(HOLDER_PROGRAM), nats_server.url, BUCKET, "p00", "child", "2", "killable"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert holder.stdout is not None
    ended = asyncio.create_task(holder.wait())
    try:
        async with asyncio.timeout(30):
            while not (await holder.stdout.readline()).startswith(b"worked"):
                pass
            await asyncio.sleep(3)  # longer than its lease: it renews, and lives
            holder.send_signal(how)
            successor = lease_of("parent", ttl_s=30)
            while not await successor.claim():
                await asyncio.sleep(0.005)
            assert not is_alive(holder.pid)
            assert await ended == -signal.SIGKILL
    finally:
        if holder.returncode is None:
            holder.kill()
        await ended


KEEPERS_TTL_S = 3


class Keeper:
    """A LeaseKeeper with a diary."""

    def __init__(self, bus: Bus, holder: str, ttl_s: int = KEEPERS_TTL_S) -> None:
        self.lost: list[tuple[str, float, bool]] = []
        self.raises = False
        self.keeper = LeaseKeeper(bus, BUCKET, holder=holder, node="n", ttl_s=ttl_s, on_lost=self._note)

    def _note(self, lease: Lease) -> None:
        self.lost.append((lease.key, lease.age_s(), lease.valid()))
        if self.raises:
            raise RuntimeError("a listener that raises")


@pytest.fixture
async def keepers(nats_server: NatsServer, bus: Bus, bucket: str) -> AsyncIterator[tuple[Keeper, Keeper]]:
    second_bus = await Bus.connect(nats_server.url, name="second")
    pair = Keeper(bus, "first"), Keeper(second_bus, "second")
    for one in pair:
        await one.keeper.start()
    yield pair
    for one in pair:
        await one.keeper.stop()
    await second_bus.close()


KEYS = [f"p{number:02}" for number in range(64)]


async def test_a_keeper_holds_64_leases_over_many_ttls_and_hands_them_over(
    keepers: tuple[Keeper, Keeper],
) -> None:
    first, second = keepers
    assert all(await asyncio.gather(*(first.keeper.claim(key) for key in KEYS)))
    began = time.monotonic()
    while time.monotonic() - began < 2.5 * KEEPERS_TTL_S:
        assert not any(await asyncio.gather(*(second.keeper.claim(key) for key in KEYS)))
        assert all(lease.valid() for lease in first.keeper.held.values())
        await asyncio.sleep(0.3)
    assert len(first.keeper.held) == 64
    await first.keeper.stop()
    assert all(await asyncio.gather(*(second.keeper.claim(key) for key in KEYS)))
    assert first.lost == []
    assert second.lost == []


async def test_while_the_server_is_away_every_lease_is_given_up_in_time_and_claimed_again_after(
    nats_server: NatsServer, keepers: tuple[Keeper, Keeper]
) -> None:
    first, _ = keepers
    for key in KEYS:
        assert await first.keeper.claim(key)
    tokens = {key: lease.token for key, lease in first.keeper.held.items()}
    await nats_server.kill()
    await until("all are lost", lambda: len(first.lost) == 64)
    assert all(age < KEEPERS_TTL_S for _, age, _ in first.lost), "later than the TTL"
    assert not any(valid for _, _, valid in first.lost)
    assert not first.keeper.held
    with pytest.raises(PublishError):
        await first.keeper.claim("p00")
    await nats_server.start()

    async def has_it_again() -> bool:
        try:
            return await first.keeper.claim("p00") is not None
        except PublishError:
            return False

    await until("it claims again", has_it_again)
    assert first.keeper.held["p00"].token > tokens["p00"]


async def test_no_two_keepers_ever_hold_the_same_lease_however_often_the_server_dies(
    nats_server: NatsServer, keepers: tuple[Keeper, Keeper]
) -> None:
    """Both claim and release all the time, while the server is killed for longer and shorter than the TTL."""
    keys = KEYS[:8]
    held_by: dict[str, set[int]] = {key: set() for key in keys}
    highest_token = dict.fromkeys(keys, 0)
    violations: list[str] = []

    async def compete(number: int, mine: LeaseKeeper, theirs: LeaseKeeper) -> None:
        while True:
            for key in keys:
                with contextlib.suppress(PublishError):
                    lease = await mine.claim(key)
                    other = theirs.held.get(key)
                    if lease is not None and lease.valid():
                        held_by[key].add(number)
                        if other is not None and other.valid():
                            violations.append(f"{key} is held twice")
                        if lease.token < highest_token[key]:
                            violations.append(f"{key} went back from {highest_token[key]} to {lease.token}")
                        highest_token[key] = lease.token
                        if random.random() < 0.05:
                            await mine.release(key)
            await asyncio.sleep(0.005)

    first, second = (one.keeper for one in keepers)
    competing = [
        asyncio.create_task(compete(0, first, second)),
        asyncio.create_task(compete(1, second, first)),
    ]
    for away_s in (0.1, KEEPERS_TTL_S + 0.2, 0.3, 1.0):
        await nats_server.kill()
        await asyncio.sleep(away_s)
        await nats_server.start()
        for holders in held_by.values():
            holders.clear()
        await until("both had every lease", lambda: all(len(holders) == 2 for holders in held_by.values()), within_s=30)
    for task in competing:
        task.cancel()
    ended = await asyncio.gather(*competing, return_exceptions=True)
    assert violations == []
    assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended


async def test_a_lease_that_somebody_else_wrote_over_is_reported_lost(bus: Bus, keepers: tuple[Keeper, Keeper]) -> None:
    """And a listener that raises disturbs no other lease."""
    first, _ = keepers
    first.raises = True
    assert await first.keeper.claim("p00")
    assert await first.keeper.claim("p01")
    await keyvalue.put(bus, BUCKET, "p00", b"{}")
    await until("it is reported", lambda: [key for key, _, _ in first.lost] == ["p00"])
    assert await first.keeper.claim("p00") is None
    renewed_from = first.keeper.held["p01"].revision
    await until("the other is renewed", lambda: first.keeper.held["p01"].revision > renewed_from)


async def test_a_short_outage_loses_nothing(nats_server: NatsServer, bus: Bus, bucket: str) -> None:
    patient = Keeper(bus, "patient", ttl_s=30)
    await patient.keeper.start()
    lease = await patient.keeper.claim("p00")
    assert lease is not None
    await nats_server.restart()
    await until("the bus is back", lambda: bus.connected)
    await lease.renew()
    assert lease.valid()
    assert patient.lost == []
    await patient.keeper.stop()


class Candidate:
    """Stands for election and notes while it leads."""

    def __init__(self, bus: Bus, name: str, ttl_s: int = 3) -> None:
        self.is_working = False
        self.terms = 0
        self.fails = False
        self.leadership = Leadership(bus, BUCKET, "scheduler", holder=name, node="n", ttl_s=ttl_s, lead=self._lead)

    async def _lead(self, lease: Lease) -> None:
        self.is_working = True
        self.terms += 1
        try:
            if self.fails:
                raise RuntimeError("a leader that fails")
            await asyncio.Event().wait()
        finally:
            self.is_working = False


async def test_one_candidate_leads_and_another_follows_when_it_steps_down(bus: Bus, bucket: str) -> None:
    candidates = [Candidate(bus, f"c{number}") for number in range(3)]
    for candidate in candidates:
        await candidate.leadership.start()
    for remaining in (3, 2, 1):
        await until("somebody leads", lambda: any(c.is_working for c in candidates))
        leaders = [c for c in candidates if c.is_working]
        assert len(leaders) == 1, remaining
        assert leaders[0].leadership.is_leader
        assert sum(c.leadership.is_leader for c in candidates) == 1
        await leaders[0].leadership.stop()
        assert not leaders[0].is_working
        candidates.remove(leaders[0])


async def test_a_leader_stops_when_the_server_is_away_and_leads_again_after(
    nats_server: NatsServer, bus: Bus, bucket: str
) -> None:
    candidate = Candidate(bus, "only")
    await candidate.leadership.start()
    await until("it leads", lambda: candidate.is_working)
    await nats_server.kill()
    await until("it stops", lambda: not candidate.is_working)
    assert not candidate.leadership.is_leader
    await nats_server.start()
    await until("it leads again", lambda: candidate.is_working)
    await candidate.leadership.stop()


async def test_a_leader_that_fails_makes_room_for_another(bus: Bus, bucket: str) -> None:
    failing, other = Candidate(bus, "failing"), Candidate(bus, "other")
    failing.fails = True
    await failing.leadership.start()
    await until("it has failed", lambda: failing.terms > 0)
    await other.leadership.start()
    await until("the other leads", lambda: other.is_working)
    await failing.leadership.stop()
    await other.leadership.stop()
