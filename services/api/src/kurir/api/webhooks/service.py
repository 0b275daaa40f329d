"""What tenants do with webhooks: the endpoints that the webhook-dispatcher delivers to."""

from datetime import datetime, timedelta

from msgspec import UNSET
from msgspec.structs import replace

from kurir.api.auth import Caller
from kurir.api.changes import Changes
from kurir.api.devices.service import Devices
from kurir.api.problems import Problem
from kurir.api.recipients import NotARecipient, jid_of
from kurir.api.urls import checked_url
from kurir.api.webhooks.endpoint_secrets import EndpointSecrets, check_headers, check_signatures
from kurir.api.webhooks.schemas import NewClientCertificate, NewWebhook, RotateSecret, WebhookChange, WebhookFilter
from kurir.contracts import ids
from kurir.contracts.records import (
    Endpoint,
    EndpointState,
    EventFilter,
    PayloadOptions,
    PayloadShape,
    SealedCertificate,
)
from kurir.dialects.event_patterns import is_event_pattern
from kurir.runtime.addresses import AddressGuard
from kurir.runtime.client_certificates import ClientCertificate
from kurir.runtime.clock import Clock
from kurir.runtime.registry import KeyMissing, Registry, RevisionConflict, key_of
from kurir.runtime.secrets import MasterKey

_KEPT_AS = {"retry_schedule": "retry_delays_s", "head_timeout": "head_timeout_s"}


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

    async def create(
        self, caller: Caller, new: NewWebhook, *, options: PayloadOptions | None = None, shown_key: str | None = None
    ) -> tuple[Endpoint, str]:
        """The endpoint and its secret. Raises Problem: LIMIT_REACHED, or about a field.

        With `options` another gateway's client made it, in whose words `events` were judged; `shown_key` is the API key
        that is to be repeated in its bodies.
        """
        if len(self._endpoints.items(caller.tenant.id)) >= caller.tenant.max_endpoints:
            raise Problem("LIMIT_REACHED")
        device = new.device_id if new.device_id is not None else caller.key.device
        signatures = check_signatures(new.signatures, new.secret)
        check_headers(new.headers, signatures, new.body_hmac)
        if options is None:
            self.check_events(new.events, new.payload)
        url = await self._checked(caller, new.url, device)
        filter = self.filter(caller, new.filter)
        now = self._clock.now()
        identifier = ids.short_id("wh_")
        secrets = EndpointSecrets(self._master_key, caller.tenant.id, identifier)
        sealed, secret = secrets.made(signatures, now, secret=new.secret, signing_key=new.signing_key)
        endpoint = Endpoint(
            id=identifier,
            tenant=caller.tenant.id,
            url=url,
            created_at=now,
            updated_at=now,
            events=new.events,
            device=device,
            signatures=signatures,
            payload=new.payload,
            payload_options=_showing(options or PayloadOptions(), secrets, shown_key),
            headers=secrets.sealed_headers(new.headers, {}),
            body_hmac=new.body_hmac,
            client_certificate=_sealed(secrets, new.client_certificate),
            secrets=sealed,
            filter=filter,
            max_in_flight=new.max_in_flight,
            max_per_second=new.max_per_second,
            retry_delays_s=new.retry_schedule,
            in_order=new.in_order,
            order_changed_at=now if new.in_order else None,
            head_timeout_s=new.head_timeout,
        )
        await self._endpoints.create(key_of(endpoint.tenant, endpoint.id), endpoint)
        await self._tell(caller, "endpoint.created", endpoint, url=endpoint.url)
        return endpoint, secret

    async def change(
        self,
        caller: Caller,
        webhook_id: str,
        change: WebhookChange,
        *,
        options: PayloadOptions | None = None,
        shown_key: str | None = None,
    ) -> Endpoint:
        """`options` and `shown_key` as in `create`. Raises Problem: WEBHOOK_NOT_FOUND, or about a field."""
        known = self.get(caller, webhook_id)
        given = {name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not UNSET}
        if "device_id" in given:
            given["device"] = given.pop("device_id") or caller.key.device
        if "filter" in given:
            given["filter"] = self.filter(caller, given["filter"])
        for name, kept_as in _KEPT_AS.items():
            if name in given:
                given[kept_as] = given.pop(name)
        if given.get("in_order", known.in_order) != known.in_order:
            given["order_changed_at"] = self._clock.now()
        secrets = EndpointSecrets(self._master_key, known.tenant, known.id)
        if "signatures" in given:
            given["secrets"] = secrets.completed(known, given["signatures"], self._clock.now())
        headers = given.get("headers", {})
        check_headers(
            headers or dict.fromkeys(known.headers, ""),
            given.get("signatures", known.signatures),
            given.get("body_hmac", known.body_hmac),
        )
        if "client_certificate" in given:
            given["client_certificate"] = _sealed(secrets, given["client_certificate"])
        if "headers" in given:
            given["headers"] = secrets.sealed_headers(headers, known.headers)
        if given.get("active"):
            given["disabled_reason"] = None
        if options is not None:
            given["payload_options"] = _showing(options, secrets, shown_key)
        wanted = replace(known, **given)
        if options is None and ("events" in given or "payload" in given):
            self.check_events(wanted.events, wanted.payload)
        url = await self._checked(caller, wanted.url, wanted.device)
        if "url" in given:
            given["url"] = url
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
        """The endpoint, its new secret, and until when those before sign too."""
        known = self.get(caller, webhook_id)
        now = self._clock.now()
        overlap = timedelta(hours=rotation.overlap_hours)
        sealed, secret = EndpointSecrets(self._master_key, known.tenant, known.id).rotated(
            known, now, overlap, secret=rotation.secret, signing_key=rotation.signing_key
        )
        endpoint = await self._write(known, secrets=sealed)
        await self._tell(caller, "endpoint.secret_rotated", endpoint)
        return endpoint, secret, now + overlap

    async def _checked(self, caller: Caller, url: str, device: str | None) -> str:
        """The URL as it is kept. Raises Problem about a field."""
        if device is not None:
            try:
                self._devices.get(caller, device)
            except Problem as problem:
                raise Problem(problem.code, field="deviceId") from None
        return await checked_url(url, self._guard)

    def check_events(self, patterns: tuple[str, ...], payload: PayloadShape = "native") -> None:
        """Raise Problem for one that no event can match, in the words of the payload's shape either."""
        for index, pattern in enumerate(patterns):
            if not is_event_pattern(pattern, payload):
                raise Problem("VALIDATION_ERROR", f"There is no event {pattern!r}.", field=f"events[{index}]")

    def filter(self, caller: Caller, wanted: WebhookFilter) -> EventFilter:
        """The filter as it is kept: chats in the form that events have. Raises Problem about a field."""
        for index, device in enumerate(wanted.device_ids):
            try:
                self._devices.get(caller, device)
            except Problem as problem:
                raise Problem(problem.code, field=f"filter.deviceIds[{index}]") from None
        chats = []
        for index, chat in enumerate(wanted.chats):
            try:
                chats.append(jid_of(chat, caller.tenant.country))
            except NotARecipient:
                message = f"{chat!r} is no phone number and no JID."
                raise Problem("VALIDATION_ERROR", message, field=f"filter.chats[{index}]") from None
        return EventFilter(
            devices=wanted.device_ids,
            chats=tuple(chats),
            direction=wanted.direction,
            from_me=wanted.from_me,
            groups=wanted.groups,
        )

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


def _is_visible(caller: Caller, endpoint: Endpoint) -> bool:
    """A key that is bound to a device sees that device's webhooks alone."""
    return caller.key.device is None or endpoint.device == caller.key.device


def _showing(options: PayloadOptions, secrets: EndpointSecrets, key: str | None) -> PayloadOptions:
    return replace(options, sealed_key=secrets.sealed_key(key)) if key is not None else options


def _sealed(secrets: EndpointSecrets, given: NewClientCertificate | None) -> SealedCertificate | None:
    if given is None:
        return None
    return secrets.sealed_certificate(ClientCertificate(given.certificate, given.private_key))
