"""Every subject of the bus, built and taken apart here and nowhere else.

Tokens are ids checked by `ids.is_token`; a subject therefore never needs escaping.
Partitions are plain decimals: `partition_of` in the runtime says which key belongs to which.
"""

from typing import NamedTuple

COMMAND_PARTITIONS = 64
"""Partitions of devices. 64 consumers serve 20,900 messages/s, one consumer per device 3,600."""

DELIVERY_PARTITIONS = 4
"""Partitions of endpoints. Every dispatcher pulls from all of them, so more would share out nothing; and the server
writes the state of each consumer at work some ten times a second: 83 of them cost it up to 0.4 of a core."""

NO_DEVICE = "-"
"""Stands where the device would, in events about what belongs to no single one. No device has this id."""


def command(partition: int, tenant: str, device: str, kind: str) -> str:
    """Where an order to one device is published; `kind` is one of `commands.KINDS`."""
    return f"kurir.cmd.{partition}.{tenant}.{device}.{kind}"


def commands_of_partition(partition: int) -> str:
    return f"kurir.cmd.{partition}.>"


def command_lane(partition: int, queue: str) -> str:
    """The slow lane of a device's queue that fell behind its own pace; see `command_queue`."""
    return f"kurir.lane.{partition}.{queue}"


def command_lanes_of_partition(partition: int) -> str:
    return f"kurir.lane.{partition}.*"


def later(what: str, identifier: str) -> str:
    """Where a schedule waits; publishing again replaces it, purging cancels it."""
    return f"kurir.later.{what}.{identifier}"


def due(what: str) -> str:
    """Where the server fires schedules of one kind."""
    return f"kurir.due.{what}"


def event(tenant: str, device: str, type_: str) -> str:
    """Where a fact about a device, or about NO_DEVICE, is published; `type_` is dotted, e.g. `messages.upsert`."""
    return f"kurir.evt.{tenant}.{device}.{type_}"


def events_of_device(tenant: str, device: str) -> str:
    return f"kurir.evt.{tenant}.{device}.>"


def events_of_tenant(tenant: str) -> str:
    return f"kurir.evt.{tenant}.>"


def delivery(partition: int, endpoint: str) -> str:
    return f"kurir.dlv.{partition}.{endpoint}"


def deliveries_of_partition(partition: int) -> str:
    return f"kurir.dlv.{partition}.*"


def delivery_lane(partition: int, endpoint: str) -> str:
    """The slow lane of an endpoint that is over its concurrency or unhealthy."""
    return f"kurir.dlvlane.{partition}.{endpoint}"


def delivery_lanes_of_partition(partition: int) -> str:
    return f"kurir.dlvlane.{partition}.*"


def delivery_retry(endpoint: str, delivery_id: str) -> str:
    """Where the next attempt of a delivery waits. No consumer may ever match this prefix: it would eat schedules."""
    return f"kurir.dlvretry.{endpoint}.{delivery_id}"


def delivery_retries(endpoint: str) -> str:
    """All of an endpoint's deliveries that wait for their next attempt, to be counted."""
    return f"kurir.dlvretry.{endpoint}.*"


def replay(tenant: str, endpoint: str, identifier: str) -> str:
    """Where the order of a replay waits until it is carried out. To delete it is to cancel."""
    return f"kurir.replay.{tenant}.{endpoint}.{identifier}"


def replays_of_endpoint(tenant: str, endpoint: str) -> str:
    return f"kurir.replay.{tenant}.{endpoint}.*"


def dead(origin: str, tenant: str, key: str) -> str:
    """Where a message that was given up is kept; `origin` is the stream's name in lower case."""
    return f"kurir.dead.{origin}.{tenant}.{key}"


def counter(scope: str, tenant: str, key: str, window: int) -> str:
    """A counter of one fixed window; `window` is its start in Unix seconds."""
    return f"kurir.count.{scope}.{tenant}.{key}.{window}"


def quota(tenant: str, month: str) -> str:
    """How many messages a tenant had accepted in a month, `2026-11`."""
    return f"kurir.quota.{tenant}.{month}"


def audit(tenant: str, what: str) -> str:
    """Where facts for the audit log go that are not events: attempts, configuration changes, uses of keys."""
    return f"kurir.aud.{tenant}.{what}"


def rpc(partition: int, method: str) -> str:
    """Where the owner of a partition answers questions about its devices."""
    return f"kurir.rpc.{partition}.{method}"


def rpcs_of_partition(partition: int) -> str:
    return f"kurir.rpc.{partition}.>"


def rpc_method(subject: str) -> str:
    """The method that a question's subject names; "" for a subject that names none."""
    return subject.split(".", 3)[3] if subject.count(".") >= 3 else ""


WEBHOOK_TEST = "kurir.rpc.webhook.test"
"""Where any webhook-dispatcher makes the request of a test."""


class EventSubject(NamedTuple):
    tenant: str
    device: str
    type: str


def parse_event(subject: str) -> EventSubject:
    """Take an event's subject apart. Raises ValueError for any other subject."""
    parts = subject.split(".", 4)
    if len(parts) != 5 or parts[0] != "kurir" or parts[1] != "evt":
        raise ValueError(f"not an event subject: {subject}")
    return EventSubject(parts[2], parts[3], parts[4])


class CommandSubject(NamedTuple):
    partition: int
    tenant: str
    device: str
    kind: str


def parse_command(subject: str) -> CommandSubject:
    """Take a command's subject apart. Raises ValueError for any other subject."""
    parts = subject.split(".")
    if len(parts) != 6 or parts[0] != "kurir" or parts[1] != "cmd":
        raise ValueError(f"not a command subject: {subject}")
    return CommandSubject(int(parts[2]), parts[3], parts[4], parts[5])


_QUEUE_OF_KIND = {"send": "", "send-high": "~high", "send-bulk": "~bulk", "control": "~control"}
"""Tilde, because no id holds one."""


def command_queue(device: str, kind: str) -> str:
    """The queue that a device's commands of one kind wait in: none of them waits behind those of another kind."""
    return device + _QUEUE_OF_KIND.get(kind, "")


def send_queues(device: str) -> tuple[str, str, str]:
    """The queues of a device's messages, the most urgent first."""
    return command_queue(device, "send-high"), command_queue(device, "send"), command_queue(device, "send-bulk")


def command_key(subject: str) -> str:
    """The queue of a command's subject, in a partition or in a lane."""
    parts = subject.split(".")
    return command_queue(parts[4], parts[5]) if parts[1] == "cmd" else parts[3]


def delivery_key(subject: str) -> str:
    """The endpoint of a delivery's subject, in a partition or in a lane."""
    return subject.rsplit(".", 1)[1]


_FAMILIES = {
    "cmd": (5, "kind"),
    "evt": (4, "type"),
    "rpc": (3, "method"),
    "aud": (3, "what"),
    "later": (2, "what"),
    "due": (2, "what"),
    "dead": (2, "origin"),
    "count": (2, "scope"),
}


def family(subject: str) -> str:
    """The subject without ids, for a metric label: `cmd.*.send`, `evt.*.messages.upsert`, `dlv.*`.

    The set of answers is small and fixed, whatever tenants, devices and endpoints there are.
    """
    parts = subject.split(".")
    if len(parts) < 3 or parts[0] != "kurir":
        return "other"
    area = parts[1]
    if area in _FAMILIES:
        start, _ = _FAMILIES[area]
        # Only commands and events keep more than one token behind the ids, and both sets of names are closed.
        tail = ".".join(parts[start:]) if area in {"cmd", "evt", "rpc"} else ".".join(parts[start : start + 1])
        return f"{area}.*.{tail}"
    return f"{area}.*" if area in {"lane", "dlv", "dlvlane", "dlvretry", "replay"} else "other"
