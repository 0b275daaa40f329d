"""Webhooks as callers see them."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from kurir.api.webhooks.endpoint_secrets import MASKED, public_key
from kurir.contracts.records import BodyHmac, Endpoint, EndpointState, PayloadShape, SignatureScheme
from kurir.dialects.shapes import ALIASES
from kurir.runtime import client_certificates

Url = Annotated[str, Meta(min_length=8, max_length=2048)]
Events = Annotated[tuple[str, ...], Meta(min_length=1, max_length=50)]
Signatures = Annotated[tuple[SignatureScheme, ...], Meta(max_length=5)]
Secret = Annotated[str, Meta(min_length=8, max_length=128)]
Pem = Annotated[str, Meta(min_length=1, max_length=16_384)]
SigningKey = Annotated[str, Meta(min_length=8, max_length=128)]
OverlapHours = Annotated[int, Meta(ge=0, le=168)]
InFlight = Annotated[int, Meta(ge=1, le=100)]
PerSecond = Annotated[int, Meta(ge=1, le=1000)]
RetryDelay = Annotated[float, Meta(ge=0, le=7 * 24 * 3600)]
RetrySchedule = Annotated[tuple[RetryDelay, ...], Meta(max_length=30)]
HeadTimeout = Annotated[int, Meta(ge=1, le=7 * 24 * 3600)]
Moment = Annotated[datetime, Meta(tz=True)]
DeviceIds = Annotated[tuple[str, ...], Meta(max_length=100)]
Chats = Annotated[tuple[Annotated[str, Meta(min_length=5, max_length=64)], ...], Meta(max_length=100)]

DEFAULT_EVENTS = tuple(ALIASES.values())


class BodySignature(BodyHmac, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where `body_hmac` puts the signature, 64 hex digits, and what stands before them."""


class WebhookFilter(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Which of the events in `events` are sent. What is empty or absent lets everything through.

    `chats` are phone numbers or JIDs. `direction` is `in` for what others wrote, `out` for what the account wrote and
    what became of it. `fromMe` is about received messages alone: `true` for what the account wrote on its phone or
    another device, `false` for everything else. `groups` is `true` for what is about groups alone, `false` for the
    rest. Events without a chat or a direction, such as device.status, pass."""

    device_ids: DeviceIds = ()
    chats: Chats = ()
    direction: Literal["in", "out"] | None = None
    from_me: bool | None = None
    groups: bool | None = None


class NewClientCertificate(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What your server is to know us by (mutual TLS): a certificate, with those that vouch for it behind it, and its
    private key without a password; both PEM. The key is kept sealed and never shown."""

    certificate: Pem
    private_key: Pem


class ClientCertificateView(Struct, frozen=True, kw_only=True, rename="camel"):
    subject: str
    expires_at: datetime


class NewWebhook(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`events` are names such as `message.received` or patterns such as `send.message.*`; absent means
    message.received, message.status and device.status. Absent `deviceId` means all devices. An absent `secret` is
    made and shown once; an absent `signingKey` is made where `signatures` has `ed25519`, and its public half shown.
    `maxInFlight` requests are made at once, `maxPerSecond` in a second. `retrySchedule` are the seconds between
    attempts, empty for none; absent means the usual schedule of three days. `inOrder` sends one event at a time, in
    the order in which they happened; one that fails holds up the rest for `headTimeout` seconds at most."""

    url: Url
    events: Events = DEFAULT_EVENTS
    device_id: str | None = None
    secret: Secret | None = None
    signing_key: SigningKey | None = None
    signatures: Signatures | None = None
    body_hmac: BodySignature = BodySignature()
    client_certificate: NewClientCertificate | None = None
    payload: PayloadShape = "device_gateway"
    headers: dict[str, str] = {}
    filter: WebhookFilter = WebhookFilter()
    max_in_flight: InFlight = 10
    max_per_second: PerSecond | None = None
    retry_schedule: RetrySchedule | None = None
    in_order: bool = False
    head_timeout: HeadTimeout = 300


class WebhookChange(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is absent stays; so does a header that is given as `***`, which is how its value is shown. `active: true`
    also brings back a webhook that was disabled for failing."""

    url: Url | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    device_id: str | UnsetType | None = UNSET
    signatures: Signatures | UnsetType = UNSET
    body_hmac: BodySignature | UnsetType = UNSET
    client_certificate: NewClientCertificate | UnsetType | None = UNSET
    payload: PayloadShape | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET
    filter: WebhookFilter | UnsetType = UNSET
    max_in_flight: InFlight | UnsetType = UNSET
    max_per_second: PerSecond | UnsetType | None = UNSET
    retry_schedule: RetrySchedule | UnsetType | None = UNSET
    in_order: bool | UnsetType = UNSET
    head_timeout: HeadTimeout | UnsetType = UNSET
    active: bool | UnsetType = UNSET


class NewTest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`event` is what a webhook may ask for by name, without patterns; or `ping`, which says hello and nothing else."""

    event: Annotated[str, Meta(min_length=1, max_length=64)] = "ping"


class NewReplay(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What to deliver again: one event by its `eventId`, everything that was given up (`dead`), or what happened from
    `since` to `until`, absent meaning now, as far back as seven days. Of a range, what the webhook's own `events` and
    `filter` let through is delivered; those given here narrow it down. At most `perSecond` deliveries in a second."""

    event_id: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    dead: bool = False
    since: Moment | None = None
    until: Moment | None = None
    events: Events = ("*",)
    filter: WebhookFilter | None = None
    per_second: Annotated[int, Meta(ge=1, le=500)] = 50


class ReplayView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A replay and how far it has come. `replayed` deliveries were made, which says nothing of how they ended;
    `skipped` ones were waiting or under way by themselves."""

    id: str
    webhook_id: str
    state: Literal["waiting", "running", "done", "canceled", "failed"]
    created_at: datetime
    updated_at: datetime
    replayed: int = 0
    skipped: int = 0
    reason: str | None = None


class WebhookEventView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What was told of a webhook, to your others too: `event` is `endpoint.failing`, `endpoint.recovered`,
    `endpoint.exhausted` or `endpoint.disabled`, which have what fits them. `error` and `status` are of the latest
    attempt; `dead` is how many deliveries had been given up by then."""

    id: str
    event: str
    at: datetime
    host: str
    failing_since: datetime | None = None
    failures: int | None = None
    error: str | None = None
    status: int | None = None
    dead: int | None = None
    reason: str | None = None


class RotateSecret(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An absent `secret` is made and shown once. With an overlap of 0 hours what was valid before ends at once."""

    secret: Secret | None = None
    signing_key: SigningKey | None = None
    overlap_hours: OverlapHours = 24


class WebhookView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A webhook. `secret` is there once, in the answer that made it; values of `headers` never are. `publicKey` is
    what `v1a` signatures are verified by. `disabledReason` says why nothing is sent. `failingSince` is when the
    first of the latest failures in a row happened, `lastError` the kind of the last one, such as `timeout` or
    `http_5xx`, and `lastStatus` its status, if there was an answer; all three are null once a request succeeded."""

    id: str
    url: str
    events: tuple[str, ...]
    active: bool
    created_at: datetime
    updated_at: datetime
    signatures: tuple[SignatureScheme, ...]
    body_hmac: BodyHmac
    payload: PayloadShape
    headers: dict[str, str]
    max_in_flight: int
    filter: WebhookFilter
    max_per_second: int | None = None
    retry_schedule: tuple[float, ...] | None = None
    in_order: bool = False
    head_timeout: int = 300
    device_id: str | None = None
    secret: str | UnsetType = UNSET
    public_key: str | None = None
    client_certificate: ClientCertificateView | None = None
    disabled_reason: str | None = None
    failing_since: datetime | None = None
    last_error: str | None = None
    last_status: int | None = None


class NewSecret(Struct, frozen=True, kw_only=True, rename="camel"):
    """The secret, shown once. What was valid before signs too until `previousValidUntil` (Standard Webhooks)."""

    id: str
    secret: str
    public_key: str | None
    previous_valid_until: datetime


def view_of(endpoint: Endpoint, state: EndpointState | None, secret: str | None = None) -> WebhookView:
    # A change of the endpoint since it was disabled is what brings it back.
    is_disabled = state is not None and state.disabled and state.at >= endpoint.updated_at
    return WebhookView(
        id=endpoint.id,
        url=endpoint.url,
        events=endpoint.events,
        active=endpoint.active and not is_disabled,
        created_at=endpoint.created_at,
        updated_at=endpoint.updated_at,
        signatures=endpoint.signatures,
        payload=endpoint.payload,
        body_hmac=endpoint.body_hmac,
        headers=dict.fromkeys(endpoint.headers, MASKED),
        max_in_flight=endpoint.max_in_flight,
        filter=WebhookFilter(
            device_ids=endpoint.filter.devices,
            chats=endpoint.filter.chats,
            direction=endpoint.filter.direction,
            from_me=endpoint.filter.from_me,
            groups=endpoint.filter.groups,
        ),
        max_per_second=endpoint.max_per_second,
        retry_schedule=endpoint.retry_delays_s,
        in_order=endpoint.in_order,
        head_timeout=endpoint.head_timeout_s,
        device_id=endpoint.device,
        secret=secret if secret is not None else UNSET,
        public_key=public_key(endpoint),
        client_certificate=_certificate_of(endpoint),
        disabled_reason=endpoint.disabled_reason or (state.reason if state is not None and is_disabled else None),
        failing_since=state.failing_since if state is not None else None,
        last_error=state.error if state is not None else None,
        last_status=state.status if state is not None else None,
    )


def _certificate_of(endpoint: Endpoint) -> ClientCertificateView | None:
    if endpoint.client_certificate is None:
        return None
    about = client_certificates.about(endpoint.client_certificate.certificate)
    return ClientCertificateView(subject=about.subject, expires_at=about.expires_at)
