"""Who may open a session now, who waits for room, and whose turn it is to log in."""

import asyncio
from pathlib import Path

from kurir.session_node.admission import Admission, Limits
from kurir.session_node.memory_room import MEGABYTE, MemoryRoom, available_bytes
from tests.support.conditions import until


class Device:
    def __init__(self, name: str, *, is_urgent: bool = False) -> None:
        self.name = name
        self.is_urgent = is_urgent
        self.told = 0

    def room_is_made(self) -> None:
        self.told += 1


def devices(count: int) -> list[Device]:
    return [Device(f"d{n}") for n in range(count)]


def test_a_full_shard_refuses_with_the_reason_until_a_place_is_given_back() -> None:
    admission = Admission({"neonize": Limits(sessions=2)})
    one, two, three = devices(3)
    assert [admission.take(device, "neonize") for device in (one, two, one)] == [None, None, None]
    assert admission.take(three, "neonize") == "this shard holds 2 sessions, and may hold no more"
    assert (admission.refused, three.told) == (1, 0)
    admission.leave(one)
    assert (admission.refused, three.told) == (0, 1)
    assert admission.take(three, "neonize") is None


def test_no_more_are_told_than_there_is_room_for_and_devices_with_commands_before_the_others() -> None:
    admission = Admission({"neonize": Limits(sessions=1)})
    first, early, urgent = Device("first"), Device("early"), Device("urgent", is_urgent=True)
    for device in (first, early, urgent):
        admission.take(device, "neonize")
    admission.leave(first)
    assert (early.told, urgent.told) == (0, 1)


def test_who_does_not_want_to_wait_any_longer_is_not_told() -> None:
    admission = Admission({"neonize": Limits(sessions=1)})
    first, second, third = devices(3)
    for device in (first, second, third):
        admission.take(device, "neonize")
    admission.withdraw(second)
    admission.leave(first)
    assert (second.told, third.told) == (0, 1)


def test_an_engine_without_limits_takes_everybody() -> None:
    admission = Admission({"neonize": Limits(sessions=1)}, lambda: "none left")
    assert [admission.take(device, "sandbox") for device in devices(5)] == [None] * 5


def test_short_memory_refuses_and_who_waits_is_told_when_there_is_some_again() -> None:
    left = [10 * MEGABYTE]
    room = MemoryRoom(50, lambda: left[0])
    admission = Admission({"neonize": Limits(sessions=9)}, room.shortage)
    (device,) = devices(1)
    assert admission.take(device, "neonize") == "10 MB of memory are left, and 50 MB are to stay free"
    admission.look()
    assert device.told == 0
    left[0], room._read_at = 60 * MEGABYTE, -2.0
    admission.look()
    assert device.told == 1


def test_what_is_left_is_the_less_of_the_machine_and_the_container(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  9000 kB\nMemAvailable:    4096 kB\n")
    assert available_bytes(meminfo, tmp_path) == 4 * MEGABYTE
    (tmp_path / "memory.current").write_text("3000000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 500000\n")
    (tmp_path / "memory.max").write_text("4000000\n")
    assert available_bytes(meminfo, tmp_path) == 1_500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(meminfo, tmp_path) == 4 * MEGABYTE
    assert available_bytes(tmp_path / "nothing", tmp_path) is None
    assert MemoryRoom(100, lambda: None).shortage() is None


async def test_turns_come_in_order_but_for_devices_with_commands_which_come_first() -> None:
    admission = Admission({"neonize": Limits(logins_per_s=100.0)})
    waiting = [*devices(6), Device("urgent", is_urgent=True)]
    came: list[str] = []

    async def log_in(device: Device) -> None:
        await admission.turn(device, "neonize", asyncio.Event())
        came.append(device.name)

    await asyncio.gather(*(log_in(device) for device in waiting))
    assert came == ["urgent", "d0", "d1", "d2", "d3", "d4", "d5"]


async def test_who_gives_up_waiting_takes_nobodys_turn() -> None:
    admission = Admission({"neonize": Limits(logins_per_s=50.0)})
    gives_up, came = asyncio.Event(), []

    async def log_in(device: Device, given_up: asyncio.Event) -> None:
        await admission.turn(device, "neonize", given_up)
        came.append(device.name)

    first, quitter, last = devices(3)
    await admission.turn(first, "neonize", asyncio.Event())
    tasks = [asyncio.create_task(log_in(quitter, gives_up)), asyncio.create_task(log_in(last, asyncio.Event()))]
    gives_up.set()
    await until("both are through", lambda: len(came) == 2)
    await asyncio.gather(*tasks)
    assert came[0] == "d1"
