"""The server agrees with contracts.streams after `apply`, whatever it was like before."""

from kurir.contracts.streams import CONSUMERS, KV_BUCKETS, OBJECT_BUCKETS, STREAMS
from kurir.runtime import topology
from kurir.runtime.broker import Bus


async def test_everything_is_created_and_a_second_time_nothing_changes(bus: Bus) -> None:
    changes = await topology.apply(bus)
    things = len(STREAMS) + len(KV_BUCKETS) + len(OBJECT_BUCKETS) + len(CONSUMERS)
    assert [change.text for change in changes] == ["created"] * things
    assert await topology.apply(bus) == []


async def test_what_was_created_is_what_the_code_says(bus: Bus) -> None:
    await topology.apply(bus)
    for spec in STREAMS:
        config = (await bus.js.stream_info(spec.name)).config
        assert config.retention is not None
        assert config.subjects == list(spec.subjects)
        assert config.retention == spec.retention
        assert (config.max_age or 0) == spec.max_age_s
        assert bool(config.allow_msg_schedules) == spec.allow_schedules
        assert bool(config.allow_msg_counter) == spec.allow_counters
    for consumer in CONSUMERS[:3]:
        found = (await bus.js.consumer_info(consumer.stream, consumer.name)).config
        assert (found.filter_subject, found.ack_wait, found.max_ack_pending, found.max_deliver) == (
            consumer.filter_subject,
            consumer.ack_wait_s,
            consumer.max_ack_pending,
            -1,
        )


async def test_buckets_are_what_other_clients_take_for_buckets(bus: Bus) -> None:
    await topology.apply(bus)
    kv = await bus.js.key_value("devices")
    revision = await kv.put("t1.d1", b"1")
    assert (await kv.get("t1.d1")).revision == revision
    store = await bus.js.object_store("media")
    await store.put("name", b"bytes")
    assert (await store.get("name")).data == b"bytes"


async def test_what_drifted_is_put_right_and_said(bus: Bus) -> None:
    await topology.apply(bus)
    config = (await bus.js.stream_info("EVENTS")).config
    await bus.js.update_stream(config.evolve(max_age=6000, description="mine", max_bytes=10_000_000))
    consumer = (await bus.js.consumer_info("EVENTS", "fanout")).config
    await bus.js.add_consumer("EVENTS", consumer, max_ack_pending=7)

    changes = await topology.apply(bus)
    assert sorted(f"{c.what} {c.text.split()[0]}" for c in changes) == [
        "EVENTS description",
        "EVENTS max_age",
        "EVENTS/fanout max_ack_pending",
    ]
    config = (await bus.js.stream_info("EVENTS")).config
    assert config.max_age == 7 * 24 * 3600
    assert config.max_bytes == 10_000_000, "a limit the code does not speak of is the operator's"
    assert await topology.apply(bus) == []


async def test_what_cannot_be_changed_is_said_and_left_alone(bus: Bus) -> None:
    await bus.js.add_stream(name="COMMANDS", subjects=["kurir.cmd.>"], retention="limits", max_consumers=70)
    await bus.js.publish("kurir.cmd.0.t.d.send", b"kept")
    changes = await topology.apply(bus)
    conflicts = [str(change) for change in changes if change.is_conflict]
    assert [c.split(",")[0] for c in conflicts] == [
        "CONFLICT COMMANDS: max_consumers 70 -> 10000",
        "CONFLICT COMMANDS: retention limits -> workqueue",
    ]
    info = await bus.js.stream_info("COMMANDS")
    assert info.state.messages == 1
    assert info.config.subjects == ["kurir.cmd.>", "kurir.lane.>"]
    assert [str(change) for change in await topology.apply(bus)] == conflicts


async def test_show_says_what_is_there_and_what_is_missing(bus: Bus) -> None:
    assert "COMMANDS: missing" in await topology.show(bus)
    await topology.apply(bus)
    lines = await topology.show(bus)
    assert any(line.startswith("COMMANDS: workqueue, 0 messages") for line in lines)
    assert any(line.startswith("COMMANDS/shard-0: 0 waiting") for line in lines)
    assert not any("missing" in line for line in lines)
