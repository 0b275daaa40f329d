"""One webhook request: its headers and signatures. No network here.

Each endpoint gets the header families that its record names: Standard Webhooks (`webhook-*`, HMAC or ed25519), the
device API's (`X-Webhook-*`), a plain HMAC of the body in a header of its choice, or none. The same event has the same
`webhook-id` in every attempt and in every replay, which is how receivers know a repeat.
"""

import functools
import importlib.metadata
from datetime import datetime

import structlog

from kurir.contracts.records import Endpoint
from kurir.runtime.client_certificates import ClientCertificate
from kurir.runtime.egress import header_refusal
from kurir.runtime.secrets import MasterKey, SealBroken, endpoint_context
from kurir.runtime.signing import (
    BodySigner,
    DeviceApiSigner,
    StandardWebhooksSigner,
    WebhookSecretInvalid,
    is_signing_key,
    is_written_by_us,
)
from kurir.webhook_dispatcher import bearer

log = structlog.get_logger(__name__)

Headers = list[tuple[str, str]]

USER_AGENT = f"Kurir/{importlib.metadata.version('kurir-webhook-dispatcher')}"
REPLAY_HEADER = "X-Webhook-Replay"
"""Says `true` on what was sent again because somebody asked for it."""
TEST_HEADER = "X-Webhook-Test"
"""Says `true` on what never happened."""
SIGNS_TOKENS = "jwt_key"
"""Evolution's name for a header that is not sent: its value signs a token that is."""

_SHOWN_HEADERS = frozenset({"content-type", "user-agent", "webhook-id", "webhook-timestamp", "traceparent"})


class SecretsUnusable(Exception):
    """An endpoint's secrets cannot be opened or cannot sign. The message never quotes one."""


class RequestWriter:
    """Writes the headers of requests to one endpoint, as its record stands."""

    def __init__(self, endpoint: Endpoint, master_key: MasterKey) -> None:
        """Open the endpoint's secrets. Raises SecretsUnusable."""
        self.endpoint = endpoint
        newest_first = sorted(endpoint.secrets, key=lambda sealed: sealed.created_at, reverse=True)
        self._secrets = [(sealed.expires_at, _opened(endpoint, sealed.sealed, master_key)) for sealed in newest_first]
        self._signers_until: datetime | None = None
        self._signers: _Signers | None = None
        self._custom, self._token_key = _custom_headers(endpoint, master_key)
        sealed_key = endpoint.payload_options.sealed_key
        self.shown_key = _opened(endpoint, sealed_key, master_key) if sealed_key is not None else None
        """The API key that bodies repeat."""
        self.client_certificate = _client_certificate(endpoint, master_key)

    def headers(
        self,
        *,
        event_id: str,
        event_name: str,
        body: bytes,
        now: datetime,
        traceparent: str | None = None,
        is_replay: bool = False,
        is_test: bool = False,
    ) -> Headers:
        """The headers of one attempt made `now`. `body` is signed as it is; `event_id` holds no dot."""
        signers = self._signers_at(now)
        headers: Headers = [("Content-Type", "application/json"), ("User-Agent", USER_AGENT)]
        seconds = now.timestamp()
        if signers.standard is not None:
            headers += signers.standard.headers(event_id, int(seconds), body).items()
        else:
            headers.append(("webhook-id", event_id))
        if signers.device_api is not None:
            headers += signers.device_api.headers(event_name, int(seconds * 1000), body).items()
        else:
            headers.append(("X-Webhook-Event", event_name))
        if signers.body is not None:
            headers += signers.body.headers(body).items()
        if is_replay:
            headers.append((REPLAY_HEADER, "true"))
        if is_test:
            headers.append((TEST_HEADER, "true"))
        if traceparent is not None:
            headers.append(("traceparent", traceparent))
        headers += self._custom
        if self._token_key is not None:
            headers.append(("Authorization", "Bearer " + bearer.token(self._token_key, now)))
        return headers

    def _signers_at(self, now: datetime) -> "_Signers":
        """Made anew when a secret runs out; which secrets there are never changes for one revision of a record."""
        if self._signers is None or (self._signers_until is not None and now >= self._signers_until):
            ends = [expires_at for expires_at, _ in self._secrets if expires_at is not None and expires_at > now]
            valid = [secret for expires_at, secret in self._secrets if expires_at is None or expires_at > now]
            self._signers = _Signers(self.endpoint, valid)
            self._signers_until = min(ends, default=None)
        return self._signers


class _Signers:
    """Keyed for one endpoint. The first secret is the newest; only Standard Webhooks has room for several."""

    def __init__(self, endpoint: Endpoint, valid: list[str]) -> None:
        schemes = [scheme for scheme in endpoint.signatures if scheme != "none"]
        signing_keys = [key for key in valid if is_signing_key(key)]
        secrets = [secret for secret in valid if not is_signing_key(secret)]
        if set(schemes) - {"ed25519"} and not secrets:
            raise SecretsUnusable("The endpoint has no secret that is still valid.")
        if "ed25519" in schemes and not signing_keys:
            raise SecretsUnusable("The endpoint has no signing key that is still valid.")
        self.standard = _standard(
            endpoint, secrets if "standard" in schemes else [], signing_keys if "ed25519" in schemes else []
        )
        self.device_api = DeviceApiSigner(secrets[0]) if "device_gateway" in schemes else None
        form = endpoint.body_hmac
        self.body = BodySigner(secrets[0], form.header, form.prefix) if "body_hmac" in schemes else None
        if schemes and (self.standard, self.device_api, self.body) == (None, None, None):
            raise SecretsUnusable("The endpoint's secret does not fit its signature scheme.")


def _standard(endpoint: Endpoint, secrets: list[str], signing_keys: list[str]) -> StandardWebhooksSigner | None:
    if not secrets and not signing_keys:
        return None
    try:
        return StandardWebhooksSigner(secrets, signing_keys)
    except WebhookSecretInvalid:
        # A tenant's own secret of another form still signs the other schemes.
        log.warning("endpoint.secret_not_standard", tenant=endpoint.tenant, endpoint=endpoint.id)
        return None


def below(url: str, path: str) -> str:
    """A URL with more of a path, before its query."""
    address, mark, query = url.partition("?")
    return address.rstrip("/") + path + mark + query


def shown(headers: Headers) -> dict[str, str]:
    """Headers as they are kept in the audit: signatures and what tenants added are masked."""
    return {name: value if _is_shown(name) else "***" for name, value in headers}


_SHOWN_OF_DEVICE_API = frozenset({"X-Webhook-Event", "X-Webhook-Timestamp", REPLAY_HEADER, TEST_HEADER})


@functools.lru_cache(maxsize=4096)
def _is_shown(name: str) -> bool:
    return name.lower() in _SHOWN_HEADERS or name in _SHOWN_OF_DEVICE_API


def _opened(endpoint: Endpoint, sealed: str, master_key: MasterKey) -> str:
    try:
        return master_key.open(sealed, secret_context(endpoint.tenant, endpoint.id))
    except SealBroken as error:
        raise SecretsUnusable(str(error)) from error


def secret_context(tenant: str, endpoint: str) -> str:
    """What an endpoint's sealed secrets are bound to."""
    return endpoint_context(tenant, endpoint)


def _client_certificate(endpoint: Endpoint, master_key: MasterKey) -> ClientCertificate | None:
    kept = endpoint.client_certificate
    if kept is None:
        return None
    return ClientCertificate(kept.certificate, _opened(endpoint, kept.sealed_key, master_key))


def _custom_headers(endpoint: Endpoint, master_key: MasterKey) -> tuple[Headers, str | None]:
    """The headers, and the key of the token in the place of one (see `bearer`)."""
    headers: Headers = []
    token_key = None
    taken = endpoint.body_hmac.header.lower() if "body_hmac" in endpoint.signatures else ""
    for name, sealed in endpoint.headers.items():
        value = _opened(endpoint, sealed, master_key)
        is_ours = is_written_by_us(name) or name.lower() == taken
        if endpoint.payload == "evolution" and name == SIGNS_TOKENS:
            token_key = value
            continue
        refusal = "it is set by Kurir" if is_ours else header_refusal(name, value)
        if refusal is None:
            headers.append((name, value))
        else:
            log.warning("endpoint.header_refused", endpoint=endpoint.id, tenant=endpoint.tenant, reason=refusal)
    return headers, token_key
