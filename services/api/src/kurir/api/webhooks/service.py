"""What tenants do with webhooks: the endpoints that the webhook-dispatcher delivers to."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import UNSET
from msgspec.structs import replace

from kurir.api.auth import Caller
from kurir.api.changes import Changes
from kurir.api.devices.service import Devices
from kurir.api.problems import Problem
from kurir.api.urls import check_url
from kurir.api.webhooks.schemas import NewWebhook, RotateSecret, WebhookChange, is_event_pattern
from kurir.contracts import ids
from kurir.contracts.records import Endpoint, EndpointState, SealedSecret, SignatureScheme
from kurir.runtime import signing
from kurir.runtime.addresses import AddressGuard
from kurir.runtime.clock import Clock
from kurir.runtime.egress import header_refusal
from kurir.runtime.registry import KeyMissing, Registry, RevisionConflict, key_of
from kurir.runtime.secrets import MasterKey

SECRET_OVERLAP = timedelta(hours=24)  # receivers change over within a day; both secrets sign meanwhile
MAX_HEADERS = 20
MAX_SECRETS = 5  # that sign at once; rotating more often than this in a day drops the oldest

# What the webhook-dispatcher writes itself; a header of that name would be sent twice or not at all.
_OUR_PREFIXES = ("webhook-", "x-webhook-")
_OUR_HEADERS = frozenset({"content-type", "user-agent", "traceparent", "x-hub-signature-256"})
_BY_DEFAULT: tuple[SignatureScheme, ...] = ("standard", "device_gateway")


class Webhooks:
    def __init__(
        self,
        clock: Clock,
        changes: Changes,
        devices: Devices,
        endpoints: Registry[Endpoint],
        states: Registry[EndpointState],
        master_key: MasterKey,
        guard: AddressGuard,
    ) -> None:
        self._clock = clock
        self._changes = changes
        self._devices = devices
        self._endpoints = endpoints
        self._states = states
        self._master_key = master_key
        self._guard = guard

    def get(self, caller: Caller, webhook_id: str) -> Endpoint:
        """The caller's webhook. Raises Problem WEBHOOK_NOT_FOUND, for another tenant's too."""
        endpoint = self._endpoints.get(f"{caller.tenant.id}.{webhook_id}")
        if endpoint is None or not _is_visible(caller, endpoint):
            raise Problem("WEBHOOK_NOT_FOUND")
        return endpoint

    def all(self, caller: Caller) -> list[Endpoint]:
        """The caller's webhooks, oldest first."""
        found = [endpoint for _, endpoint in self._endpoints.items(caller.tenant.id)]
        return sorted((e for e in found if _is_visible(caller, e)), key=lambda e: (e.created_at, e.id))

    def state(self, endpoint: Endpoint) -> EndpointState | None:
        """Its health, as the webhook-dispatcher said last."""
        return self._states.get(f"{endpoint.tenant}.{endpoint.id}")

    async def create(self, caller: Caller, new: NewWebhook) -> tuple[Endpoint, str]:
        """The endpoint and its secret. Raises Problem: LIMIT_REACHED, or about a field."""
        if len(self._endpoints.items(caller.tenant.id)) >= caller.tenant.max_endpoints:
            raise Problem("LIMIT_REACHED")
        device = new.device_id if new.device_id is not None else caller.key.device
        await self._check(caller, new.url, new.events, device, new.headers)
        secret = new.secret or signing.new_webhook_secret()
        signatures = _signatures(new.signatures, secret)
        now = self._clock.now()
        endpoint = Endpoint(
            id=ids.short_id("wh_"),
            tenant=caller.tenant.id,
            url=new.url,
            created_at=now,
            updated_at=now,
            events=new.events,
            device=device,
            signatures=signatures,
            payload=new.payload,
            headers=new.headers,
            max_in_flight=new.max_in_flight,
        )
        endpoint = replace(endpoint, secrets=(self._sealed(endpoint, secret, now),))
        await self._endpoints.create(key_of(endpoint.tenant, endpoint.id), endpoint)
        await self._tell(caller, "endpoint.created", endpoint, url=endpoint.url)
        return endpoint, secret

    async def change(self, caller: Caller, webhook_id: str, change: WebhookChange) -> Endpoint:
        known = self.get(caller, webhook_id)
        given = {name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not UNSET}
        if "device_id" in given:
            given["device"] = given.pop("device_id") or caller.key.device
        if "signatures" in given:
            _signatures(given["signatures"], self._newest_secret(known))
        if given.get("active"):
            given["disabled_reason"] = None
        wanted = replace(known, **given)
        await self._check(caller, wanted.url, wanted.events, wanted.device, wanted.headers)
        endpoint = await self._write(known, **given)
        await self._tell(caller, "endpoint.changed", endpoint, fields=",".join(given))
        return endpoint

    async def delete(self, caller: Caller, webhook_id: str) -> None:
        endpoint = self.get(caller, webhook_id)
        await self._endpoints.delete(key_of(endpoint.tenant, endpoint.id))
        await self._tell(caller, "endpoint.deleted", endpoint, url=endpoint.url)

    async def rotate_secret(
        self, caller: Caller, webhook_id: str, rotation: RotateSecret
    ) -> tuple[Endpoint, str, datetime]:
        """The endpoint, its new secret, and until when the one before signs too."""
        known = self.get(caller, webhook_id)
        secret = rotation.secret or signing.new_webhook_secret()
        _signatures(known.signatures, secret)
        now = self._clock.now()
        until = now + SECRET_OVERLAP
        previous = tuple(
            replace(one, expires_at=min(one.expires_at or until, until))
            for one in known.secrets
            if one.expires_at is None or one.expires_at > now
        )
        secrets = (self._sealed(known, secret, now), *previous)[:MAX_SECRETS]
        endpoint = await self._write(known, secrets=secrets)
        await self._tell(caller, "endpoint.secret_rotated", endpoint)
        return endpoint, secret, until

    async def _check(
        self, caller: Caller, url: str, events: tuple[str, ...], device: str | None, headers: Mapping[str, str]
    ) -> None:
        for index, pattern in enumerate(events):
            if not is_event_pattern(pattern):
                raise Problem("VALIDATION_ERROR", f"There is no event {pattern!r}.", field=f"events[{index}]")
        if device is not None:
            try:
                self._devices.get(caller, device)
            except Problem as problem:
                raise Problem(problem.code, field="deviceId") from None
        if len(headers) > MAX_HEADERS:
            raise Problem("VALIDATION_ERROR", f"At most {MAX_HEADERS} headers.", field="headers")
        for name, value in headers.items():
            refusal = header_refusal(name, value)
            if name.lower().startswith(_OUR_PREFIXES) or name.lower() in _OUR_HEADERS:
                refusal = "this header is written by us"
            if refusal is not None:
                raise Problem("VALIDATION_ERROR", f"Header {name!r}: {refusal}.", field="headers")
        await check_url(url, self._guard)

    def _sealed(self, endpoint: Endpoint, secret: str, now: datetime) -> SealedSecret:
        sealed = self._master_key.seal(secret, secret_context(endpoint))
        return SealedSecret(id=ids.short_id("sec_"), sealed=sealed, created_at=now)

    def _newest_secret(self, endpoint: Endpoint) -> str:
        return self._master_key.open(endpoint.secrets[0].sealed, secret_context(endpoint))

    async def _write(self, known: Endpoint, **given: object) -> Endpoint:
        now = self._clock.now()
        try:
            return await self._endpoints.change(
                key_of(known.tenant, known.id), lambda endpoint: replace(endpoint, updated_at=now, **given)
            )
        except KeyMissing:
            raise Problem("WEBHOOK_NOT_FOUND") from None
        except RevisionConflict:
            raise Problem("CONFLICT") from None

    async def _tell(self, caller: Caller, what: str, endpoint: Endpoint, **details: str) -> None:
        await self._changes.tell(
            endpoint.tenant, what, actor=caller.key, target=endpoint.id, device=endpoint.device, **details
        )


def secret_context(endpoint: Endpoint) -> str:
    """What a sealed secret is bound to: a copy in another tenant's endpoint does not open."""
    return f"{endpoint.tenant}/{endpoint.id}"


def _is_visible(caller: Caller, endpoint: Endpoint) -> bool:
    """A key that is bound to a device sees that device's webhooks alone."""
    return caller.key.device is None or endpoint.device == caller.key.device


def _signatures(wanted: tuple[SignatureScheme, ...] | None, secret: str) -> tuple[SignatureScheme, ...]:
    """The schemes to sign by. A secret that is no Standard Webhooks secret can sign in the other ways alone."""
    try:
        signing.decode_webhook_secret(secret)
    except signing.WebhookSecretInvalid as error:
        if wanted is None:
            return ("device_gateway",)
        if "standard" in wanted:
            raise Problem("VALIDATION_ERROR", str(error), field="secret") from None
    return _BY_DEFAULT if wanted is None else wanted
