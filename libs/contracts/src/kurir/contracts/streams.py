"""Every stream, consumer and bucket with its limits: the only place where they stand.

`kurir topology apply` makes the server agree with this file; no service declares anything by itself.
Numbers carry their reason. Server features used need nats-server 2.14 or later.
"""

from typing import Literal

from msgspec import Struct

from kurir.contracts import subjects

Retention = Literal["limits", "workqueue"]

DAY_S = 24 * 3600


class StreamSpec(Struct, frozen=True, kw_only=True):
    """A JetStream stream. Zero means "no limit" for each `max_` field."""

    name: str
    subjects: tuple[str, ...]
    retention: Retention
    description: str
    max_age_s: int = 0
    max_msgs_per_subject: int = 0
    discard_new_per_subject: bool = False
    duplicate_window_s: int = 120
    max_consumers: int = 0
    allow_schedules: bool = False
    allow_direct: bool = True
    allow_counters: bool = False


class ConsumerSpec(Struct, frozen=True, kw_only=True):
    """A durable pull consumer with explicit acks; redelivery without end, because attempts are counted by us."""

    stream: str
    name: str
    filter_subject: str
    ack_wait_s: int
    max_ack_pending: int
    description: str


class BucketSpec(Struct, frozen=True, kw_only=True):
    """A KV bucket; `ttl_s` is the age at which every entry goes, `entry_ttl` allows an own one per entry."""

    name: str
    writer: str
    description: str
    ttl_s: int = 0
    entry_ttl: bool = False


class ObjectBucketSpec(Struct, frozen=True, kw_only=True):
    """An object store bucket; objects go after `ttl_s`."""

    name: str
    ttl_s: int
    description: str


COMMAND_BACKLOG = 10_000
"""A device's backlog of one kind: at 30 messages a minute five and a half hours. Beyond it the api answers 429."""

COMMANDS = StreamSpec(
    name="COMMANDS",
    subjects=("kurir.cmd.>", "kurir.lane.>"),
    retention="workqueue",
    max_msgs_per_subject=COMMAND_BACKLOG,
    discard_new_per_subject=True,
    # 64 partitions, and a lane for each device that is behind its pace.
    max_consumers=10_000,
    description="Orders to devices, until they are carried out",
)
LATER = StreamSpec(
    name="LATER",
    subjects=("kurir.later.>", "kurir.due.>"),
    retention="workqueue",
    # No max_*: a stream with schedules that meets a limit drops the oldest schedule silently.
    allow_schedules=True,
    max_consumers=100,
    description="What is to happen at a time; the server fires it into kurir.due",
)
EVENTS = StreamSpec(
    name="EVENTS",
    subjects=("kurir.evt.>",),
    retention="limits",
    max_age_s=7 * DAY_S,
    # Long enough to outlive a restart of everything; ids cost about 300 bytes of server memory each.
    duplicate_window_s=600,
    max_consumers=1_000,
    description="What happened: the public subscription surface and the source of replays",
)
DELIVERIES = StreamSpec(
    name="DELIVERIES",
    subjects=("kurir.dlv.>", "kurir.dlvlane.>", "kurir.dlvretry.>", "kurir.replay.>"),
    retention="workqueue",
    duplicate_window_s=600,
    allow_schedules=True,
    max_consumers=10_000,
    description="Events on their way to webhooks; retries wait here as schedules, and orders of replays",
)
DEAD = StreamSpec(
    name="DEAD",
    subjects=("kurir.dead.>",),
    retention="limits",
    max_age_s=30 * DAY_S,
    max_consumers=100,
    description="What was given up, with its reason, replayable",
)
COUNTERS = StreamSpec(
    name="COUNTERS",
    subjects=("kurir.count.>",),
    retention="limits",
    # The longest window counted is a minute; a counter that nobody asks for any more is soon gone.
    max_age_s=2 * 3600,
    # Each increment is a message that holds the sum so far, and only the newest are of use.
    max_msgs_per_subject=16,
    allow_counters=True,
    max_consumers=10,
    description="Rate limits, exact across replicas",
)
QUOTAS = StreamSpec(
    name="QUOTAS",
    subjects=("kurir.quota.>",),
    retention="limits",
    # A tenant's sum of a month must outlive the longest pause in it.
    max_age_s=40 * DAY_S,
    # Each increment is a message that holds the sum so far; a repeat reads the one that the first attempt made.
    max_msgs_per_subject=64,
    # How long after an answer that did not come a client's repeat is still the same message.
    duplicate_window_s=600,
    allow_counters=True,
    max_consumers=10,
    description="Messages of each tenant and month that has a quota",
)
AUDIT = StreamSpec(
    name="AUDIT",
    subjects=("kurir.aud.>",),
    retention="limits",
    # How long the history database may be away before the audit log has a gap.
    max_age_s=7 * DAY_S,
    duplicate_window_s=600,
    max_consumers=100,
    description="Facts for the audit log that are not events: delivery attempts, configuration changes",
)

STREAMS = (COMMANDS, LATER, EVENTS, DELIVERIES, DEAD, COUNTERS, QUOTAS, AUDIT)


def command_consumer(partition: int) -> str:
    """Name of the consumer that serves one partition of devices."""
    return f"shard-{partition}"


def command_lane_consumer(queue: str) -> str:
    """Name of the on-demand consumer of the lane of a device's queue."""
    return f"lane-{queue}"


def delivery_consumer(partition: int) -> str:
    """Name of the consumer that serves one partition of endpoints."""
    return f"deliver-{partition}"


def delivery_lane_consumer(endpoint: str) -> str:
    """Name of the on-demand consumer of an endpoint's lane."""
    return f"lane-{endpoint}"


def in_order_consumer(endpoint: str) -> str:
    """Name of the consumer on EVENTS of an endpoint that gets its events in order."""
    return f"order-{endpoint}"


COMMAND_ACK_WAIT_S = 30
"""Longest send seen 11 s, and a message that waits in a process is reported as in progress; so only the commands
of a dead shard wait this long, and a new owner resets the consumer instead of waiting."""

DELIVERY_ACK_WAIT_S = 30
"""The total deadline of one attempt (15 s) and as much again to record it."""

IN_ORDER_ACK_WAIT_S = 10
"""Whatever died, dispatcher or server, the endpoint stands still for that long. An attempt under way is reported."""

FANOUT_CONSUMER = "fanout"
HISTORY_CONSUMER = "history"
AUDIT_CONSUMER = "audit-writer"
DUE_CONSUMER = "due"
REPLAY_CONSUMER = "replay"

CONSUMERS = (
    *(
        ConsumerSpec(
            stream=COMMANDS.name,
            name=command_consumer(p),
            filter_subject=subjects.commands_of_partition(p),
            ack_wait_s=COMMAND_ACK_WAIT_S,
            max_ack_pending=2_000,
            description=f"orders to the devices of partition {p}, pulled by its owner",
        )
        for p in range(subjects.COMMAND_PARTITIONS)
    ),
    *(
        ConsumerSpec(
            stream=DELIVERIES.name,
            name=delivery_consumer(p),
            filter_subject=subjects.deliveries_of_partition(p),
            ack_wait_s=DELIVERY_ACK_WAIT_S,
            max_ack_pending=2_000,
            description=f"deliveries to the endpoints of partition {p}",
        )
        for p in range(subjects.DELIVERY_PARTITIONS)
    ),
    ConsumerSpec(
        stream=EVENTS.name,
        name=FANOUT_CONSUMER,
        filter_subject="kurir.evt.>",
        ack_wait_s=30,
        max_ack_pending=5_000,
        description="finds the endpoints that want an event",
    ),
    ConsumerSpec(
        stream=EVENTS.name,
        name=HISTORY_CONSUMER,
        filter_subject="kurir.evt.>",
        ack_wait_s=60,
        max_ack_pending=5_000,
        description="writes events to the history database in bulk",
    ),
    ConsumerSpec(
        stream=AUDIT.name,
        name=AUDIT_CONSUMER,
        filter_subject="kurir.aud.>",
        ack_wait_s=60,
        max_ack_pending=5_000,
        description="writes attempts and configuration changes to the history database in bulk",
    ),
    ConsumerSpec(
        stream=DELIVERIES.name,
        name=REPLAY_CONSUMER,
        filter_subject="kurir.replay.>",
        ack_wait_s=30,
        max_ack_pending=5_000,  # those that wait for their turn too: no tenant keeps others from getting into line
        description="orders of replays, each carried out by one dispatcher",
    ),
    ConsumerSpec(
        stream=LATER.name,
        name=DUE_CONSUMER,
        filter_subject="kurir.due.>",
        ack_wait_s=30,
        max_ack_pending=1_000,
        description="what is due now, turned into commands by the scheduler",
    ),
)

KV_BUCKETS = (
    BucketSpec(name="tenants", writer="api", description="customers and their settings"),
    BucketSpec(name="keys", writer="api", description="API keys by their SHA-256"),
    BucketSpec(name="devices", writer="api", description="devices and whether they are wanted connected"),
    BucketSpec(name="endpoints", writer="api", description="webhook endpoints"),
    BucketSpec(name="sessions", writer="session-node", description="the live state of each device"),
    BucketSpec(name="leases", writer="session-node", description="who owns which partition", entry_ttl=True),
    BucketSpec(name="shards", writer="session-node", description="shards that are alive", entry_ttl=True),
    BucketSpec(name="nodes", writer="api", description="nodes that operators cordoned or drained"),
    BucketSpec(name="leaders", writer="scheduler", description="who leads a job", entry_ttl=True),
    BucketSpec(
        name="endpoint_state",
        writer="webhook-dispatcher",
        description="health of each endpoint: failing since",
    ),
    BucketSpec(
        name="replays",
        writer="webhook-dispatcher",
        description="how far each replay has come",
        ttl_s=30 * DAY_S,
    ),
    BucketSpec(
        name="idempotency",
        writer="api",
        description="answers remembered for an idempotency key",
        ttl_s=DAY_S,
    ),
    BucketSpec(name="address_book", writer="api", description="contacts that tenants have saved"),
    BucketSpec(name="contact_groups", writer="api", description="groups of saved contacts"),
    BucketSpec(
        name="message_numbers",
        writer="api",
        description="whole numbers of messages, given out in blocks, for the APIs that have them",
        # How long a message can be asked for by its number. A busy replica writes an entry of 100 bytes a second.
        ttl_s=30 * DAY_S,
    ),
)

MEDIA_BUCKET = "media"
OBJECT_BUCKETS = (
    ObjectBucketSpec(name=MEDIA_BUCKET, ttl_s=7 * DAY_S, description="media of messages sent and received"),
)
