"""What is kept: values of KV buckets and documents of collections. Each has one writing service.

New fields have defaults, so that an older service's records decode in a newer one and the other way round.
"""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from kurir.contracts.commands import OnUnknown
from kurir.contracts.states import ConnectionState, Reason

When = Annotated[datetime, Meta(tz=True)]
Engine = Literal["neonize", "sandbox"]
SignatureScheme = Literal["standard", "ed25519", "device_gateway", "body_hmac", "none"]
Dialect = Literal["native", "evolution", "baileys_gateway", "rk_connect", "device_gateway", "fonnte"]
PayloadShape = Dialect


class Tenant(Struct, frozen=True, kw_only=True):
    """Bucket `tenants`, key `<id>`. `rate_per_minute` is the accept limit per device; `country` an ISO code.

    No more than `messages_per_month` are accepted in a calendar month (UTC); None is no limit. Where times are told
    without saying which zone they are of, it is `time_zone`, a name of the IANA database. Events and attempts are kept
    in the history for `keep_days`; None means as long as the operator keeps them.
    """

    id: str
    name: str
    created_at: When
    email: str | None = None
    plan: str = "standard"
    country: str = "ID"
    time_zone: str = "Asia/Jakarta"
    rate_per_minute: int = 30
    messages_per_month: int | None = None
    on_unknown: OnUnknown = "report"
    max_devices: int = 100
    max_endpoints: int = 100
    keep_days: int | None = None
    active: bool = True


class DialectOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How another gateway's API behaves for a key, where its clients differ in what they expect.

    `evolution_version` is whose bodies are answered where v1 and v2 differ. `multipart_signature` lenient also takes
    the signature over an empty body, which is what PHP clients sign for a form. `strict_request_id` refuses another
    body under a known X-REQUEST-ID. `when_offline` says whether a message for a device that is not connected is
    refused or waits; None is what the dialect does by itself. `failures_are_200` answers failures with HTTP status 200.
    `networks` (CIDR), if any, are where requests may come from. `show_key` repeats the key in answers and webhooks.
    """

    evolution_version: Literal["v1", "v2"] = "v1"
    multipart_signature: Literal["lenient", "raw"] = "lenient"
    strict_request_id: bool = False
    when_offline: Literal["refuse", "queue"] | None = None
    failures_are_200: bool = False
    networks: tuple[str, ...] = ()
    show_key: bool = False


class ApiKey(Struct, frozen=True, kw_only=True):
    """Bucket `keys`, key `<sha256 of the API key in hex>`. `hint` is the key's last four characters.

    Role `operator` manages tenants and has none itself; role `tenant` acts for its tenant. `dialect` decides whose API
    answers at a path that several have. A project's key has `allowed_origins`: web sites that may show QR codes. A key
    with a `sealed_secret` (encrypted under the master key, bound to the
    key's id) is good only for requests that are signed with it.
    """

    id: str
    role: Literal["operator", "tenant"]
    name: str
    hint: str
    created_at: When
    tenant: str | None = None
    device: str | None = None
    dialect: Dialect | None = None
    options: DialectOptions = DialectOptions()
    sealed_secret: str | None = None
    allowed_origins: tuple[str, ...] | None = None


class SealedProxy(Struct, frozen=True, kw_only=True):
    """A proxy URL encrypted under the master key, bound to its device; `shown` is the URL without its password."""

    sealed: str
    shown: str


class Outlet(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether events are wanted on another way than webhooks, and which, in the words of the dialect; none are all."""

    enabled: bool = False
    events: tuple[str, ...] = ()


class DeviceSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What clients of Evolution's API choose for a device. `reject_call` rejects calls, and `msg_call` is a text that
    each caller is sent. `groups_ignore` keeps groups from its webhook, `read_messages` tells senders that their
    messages were read as soon as they are stored, `read_status` that their status updates were seen, and
    `always_online` shows the device online with each connection; the other one is kept and found again. `websocket` is
    what its socket.io namespace tells."""

    reject_call: bool = False
    msg_call: str = ""
    groups_ignore: bool = False
    always_online: bool = False
    read_messages: bool = False
    read_status: bool = False
    sync_full_history: bool = False
    websocket: Outlet = Outlet()


class Device(Struct, frozen=True, kw_only=True):
    """Bucket `devices`, key `<tenant>.<id>`: what the tenant wants. The owner of the partition makes it so.

    A higher `connect_generation` asks for a fresh connect, e.g. after a QR code ran out. `pace_per_minute` 0 means
    no pacing by the owner. A message without a receipt after `undelivered_after_s` is reported so; None never does.
    `code` is what other gateways' clients call the device (an instance name, a device code), unlike that of any other
    device of the tenant; None is its id.
    """

    id: str
    tenant: str
    name: str
    code: str | None = None
    engine: Engine
    created_at: When
    updated_at: When
    wanted: Literal["connected", "disconnected"] = "disconnected"
    connect_generation: int = 0
    pair_phone: str | None = None
    pace_per_minute: int = 30
    rate_per_minute: int | None = None
    undelivered_after_s: int | None = None
    proxy: SealedProxy | None = None
    settings: DeviceSettings = DeviceSettings()


class Session(Struct, frozen=True, kw_only=True):
    """Bucket `sessions`, key `<tenant>.<device>`: how the device is, said by its owner.

    `paired` devices log in from the engine's store as `jid`. `epoch` is the owner's fencing token. `generation` is the
    device's `connect_generation` that this state answers. While `is_backlog_full` no more messages are accepted.
    """

    device: str
    tenant: str
    state: ConnectionState
    at: When
    reason: Reason | None = None
    paired: bool = False
    jid: str | None = None
    lid: str | None = None
    phone: str | None = None
    push_name: str | None = None
    qr: str | None = None
    qr_expires_at: When | None = None
    pairing_code: str | None = None
    banned_until: When | None = None
    node: str = ""
    shard: str = ""
    epoch: int = 0
    generation: int = 0
    is_backlog_full: bool = False


class SealedSecret(Struct, frozen=True, kw_only=True):
    """A secret encrypted under the master key, bound to its tenant and endpoint. Signs until `expires_at`.

    An ed25519 signing key has its `public_key` beside it, `whpk_…`; a shared secret has none.
    """

    id: str
    sealed: str
    created_at: When
    expires_at: When | None = None
    public_key: str | None = None


class BodyHmac(Struct, frozen=True, kw_only=True):
    """Where an endpoint of the scheme `body_hmac` wants the signature, and what it wants before the hex digits."""

    header: Annotated[str, Meta(min_length=1, max_length=64)] = "X-Hub-Signature-256"
    prefix: Annotated[str, Meta(max_length=32)] = "sha256="


class EventFilter(Struct, frozen=True, kw_only=True):
    """Which of the events that an endpoint asks for by type it hears. What is empty or absent lets everything through.

    `chats` are JIDs. `direction` is `in` for what others wrote, `out` for what the account
    wrote and what became of it. `from_me` is about messages.upsert alone: what the account wrote on another of its
    devices, or everything else. `groups` says whether it is about a group. An event that has no chat, or no direction,
    passes.
    """

    devices: tuple[str, ...] = ()
    chats: tuple[str, ...] = ()
    direction: Literal["in", "out"] | None = None
    from_me: bool | None = None
    groups: bool | None = None


class SealedCertificate(Struct, frozen=True, kw_only=True):
    """A client certificate: PEM, public, and its private key encrypted as secrets are."""

    certificate: str
    sealed_key: str


class PayloadOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a dialect lets its clients choose about the webhooks they get; only `evolution` and `fonnte` heed it.

    `version` is whose bodies are sent where Evolution's v1 and v2 differ. `by_events` appends the event's name to the
    URL, `base64` puts files into the body. `sealed_key`, sealed as secrets are, is the API key that each body repeats.
    """

    version: Literal["v1", "v2"] = "v1"
    by_events: bool = False
    base64: bool = False
    sealed_key: str | None = None


class Endpoint(Struct, frozen=True, kw_only=True):
    """Bucket `endpoints`, key `<tenant>.<id>`: a tenant's webhook URL and what it wants to hear.

    `events` are type patterns such as `messages.upsert`, `send.message.*` or `*`, or words of the dialect that
    `payload` names (`MESSAGES_UPSERT`); none at all are all that the dialect has. Absent `device` means all devices.
    The values of `headers` are sealed as secrets are: they may be credentials. `in_order`: one event at a time, in the
    order of the stream, for what was published since `order_changed_at`; what fails holds up the rest for
    `head_timeout_s` at most.
    """

    id: str
    tenant: str
    url: str
    created_at: When
    updated_at: When
    events: tuple[str, ...] = ("*",)
    filter: EventFilter = EventFilter()
    device: str | None = None
    secrets: tuple[SealedSecret, ...] = ()
    signatures: tuple[SignatureScheme, ...] = ("standard", "device_gateway")
    payload: PayloadShape = "device_gateway"
    payload_options: PayloadOptions = PayloadOptions()
    headers: dict[str, str] = {}
    body_hmac: BodyHmac = BodyHmac()
    client_certificate: SealedCertificate | None = None
    active: bool = True
    max_in_flight: int = 10
    max_per_second: int | None = None
    retry_delays_s: tuple[float, ...] | None = None
    in_order: bool = False
    order_changed_at: When | None = None
    head_timeout_s: int = 300
    disabled_reason: str | None = None


class EndpointState(Struct, frozen=True, kw_only=True):
    """Bucket `endpoint_state`, key `<tenant>.<endpoint>`: its health, said by the webhook-dispatcher.

    `failing_since` is the first failure since the last success; `error` and `status` are of the latest that was
    written. `told` counts what was told of it in events, the ids of which are made of it; `last_told` is the latest.
    """

    endpoint: str
    tenant: str
    at: When
    failing_since: When | None = None
    consecutive_failures: int = 0
    disabled: bool = False
    reason: str | None = None
    error: str | None = None
    status: int | None = None
    told: int = 0
    last_told: Literal["recovered", "failing", "disabled"] = "recovered"


class Replay(Struct, frozen=True, kw_only=True):
    """Bucket `replays`, key `<tenant>.<endpoint>.<id>`: how far a replay has come.

    `replayed` deliveries were made; `skipped` ones were just being tried again anyway. `position` is the sequence in
    the stream that is read, behind which it goes on.
    """

    id: str
    tenant: str
    endpoint: str
    state: Literal["running", "done", "canceled", "failed"]
    made_at: When
    at: When
    replayed: int = 0
    skipped: int = 0
    position: int = 0
    reason: str | None = None


class Idempotent(Struct, frozen=True, kw_only=True):
    """Bucket `idempotency`, key `<tenant>.<sha256 of the caller's key>`: which message a repeat means.

    `accepted` is set after the command was stored; until then a repeat publishes again under the same message id.
    `answer` is what was answered, as JSON, where that is not made of this record: a repeat is answered by it.
    """

    message_id: str
    body_digest: str
    at: When
    accepted: bool = False
    answer: str | None = None


class NumberBlock(Struct, frozen=True, kw_only=True):
    """Bucket `message_numbers`, any key: the revision is the number of a block of message numbers, and `at_ms` (Unix
    milliseconds) the time in the ids of its messages."""

    at_ms: int


class AddressBookEntry(Struct, frozen=True, kw_only=True):
    """Bucket `address_book`, key `<tenant>.<id>`: a name for a number (digits with country code), in one group or in
    none; a group that is gone is none."""

    id: str
    tenant: str
    name: str
    number: str
    created_at: When
    updated_at: When
    group: str | None = None


class ContactGroup(Struct, frozen=True, kw_only=True):
    """Bucket `contact_groups`, key `<tenant>.<id>`: a group of a tenant's address book."""

    id: str
    tenant: str
    name: str
    created_at: When


class Holder(Struct, frozen=True, kw_only=True):
    """Bucket `leases` and `leaders`: who holds a lease, and since when."""

    holder: str
    node: str
    since: When


class Shard(Struct, frozen=True, kw_only=True):
    """Bucket `shards`, key `<shard>`: a living process that can hold sessions.

    Processes of one `slot` (the id, when there is none) stand for the same share of the devices: the one that was
    started last takes it over from the others.
    """

    id: str
    node: str
    started_at: When
    capacity: int
    sessions: int = 0
    draining: bool = False
    slot: str = ""


NodeState = Literal["open", "cordoned", "drained"]


class Node(Struct, frozen=True, kw_only=True):
    """Bucket `nodes`, key `node_key(name)`: what operators want of a node. A node without a record is open.

    A `cordoned` node takes no partitions and keeps those it has; a `drained` one gives them away too.
    """

    name: str
    state: NodeState
    at: When
    by: str


def node_key(name: str) -> str:
    """A node's name as a key: what is no letter or digit becomes a dash."""
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in name)


class EventFact(Struct, frozen=True, kw_only=True):
    """Collection `events`: one event, inserted once. `_id` is the event id, `body` the event as JSON text.

    `key` repeats `_id` because ranges on `_id` scan in some servers; `at_ms` is `at` as Unix milliseconds.
    """

    id: str
    key: str
    tenant: str
    device: str
    type: str
    message_id: str | None
    chat: str | None
    at: When
    at_ms: int
    seq: int
    stream_seq: int
    body: str


class AttemptFact(Struct, frozen=True, kw_only=True):
    """Collection `attempts`: one request of a delivery, inserted once. `_id` is its own id, `body` the fact as JSON."""

    id: str
    key: str
    tenant: str
    device: str
    endpoint: str
    delivery: str
    generation: int = 0
    attempt: int = 1
    event_id: str
    message_id: str | None
    outcome: str
    at: When
    at_ms: int
    body: str


class ChangeFact(Struct, frozen=True, kw_only=True):
    """Collection `changes`: one configuration change, inserted once; `body` the fact as JSON."""

    id: str
    key: str
    tenant: str
    what: str
    target: str
    at: When
    at_ms: int
    body: str
