"""What endpoints sign with and what their headers hold, checked and sealed.

A shared secret is shown once, in the answer that made it. Of an ed25519 signing key only the public half ever is, and
values of headers never are: they may be credentials.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from kurir.api.problems import Problem
from kurir.contracts import ids
from kurir.contracts.records import BodyHmac, Endpoint, SealedCertificate, SealedSecret, SignatureScheme
from kurir.runtime import client_certificates, signing
from kurir.runtime.client_certificates import ClientCertificate, ClientCertificateInvalid
from kurir.runtime.egress import header_refusal
from kurir.runtime.secrets import MasterKey, endpoint_context

MAX_HEADERS = 20
MAX_PREVIOUS = 4  # of either kind that sign besides the newest; rotating more often drops the oldest
MASKED = "***"

_BY_DEFAULT: tuple[SignatureScheme, ...] = ("standard", "device_gateway")


class EndpointSecrets:
    """Secrets and headers of one endpoint, which are bound to its tenant and id."""

    def __init__(self, master_key: MasterKey, tenant: str, endpoint: str) -> None:
        self._master_key = master_key
        self._context = endpoint_context(tenant, endpoint)

    def made(
        self, signatures: tuple[SignatureScheme, ...], now: datetime, *, secret: str | None, signing_key: str | None
    ) -> tuple[tuple[SealedSecret, ...], str]:
        """The first secrets of an endpoint, and the shared one as it is shown. Raises Problem about a signing key."""
        secret = secret or signing.new_webhook_secret()
        if "ed25519" not in signatures:
            if signing_key is not None:
                raise Problem("VALIDATION_ERROR", "Only the signature ed25519 uses a signing key.", field="signingKey")
            return (self._sealed_secret(secret, now),), secret
        key = self._sealed_key(signing_key or signing.new_signing_key(), now)
        return (self._sealed_secret(secret, now), key), secret

    def rotated(
        self, known: Endpoint, now: datetime, overlap: timedelta, *, secret: str | None, signing_key: str | None
    ) -> tuple[tuple[SealedSecret, ...], str]:
        """Everything that the endpoint signs with made anew; what was valid before ends after `overlap`.

        Raises Problem for a secret that does not fit the endpoint's signatures.
        """
        check_signatures(known.signatures, secret)
        fresh, made = self.made(known.signatures, now, secret=secret, signing_key=signing_key)
        until = now + overlap
        previous = [
            replace(one, expires_at=min(one.expires_at or until, until))
            for one in known.secrets
            if overlap and (one.expires_at is None or one.expires_at > now)
        ]
        shared = [one for one in previous if one.public_key is None][:MAX_PREVIOUS]
        keys = [one for one in previous if one.public_key is not None][:MAX_PREVIOUS]
        return (*fresh, *shared, *keys), made

    def completed(
        self, known: Endpoint, signatures: tuple[SignatureScheme, ...], now: datetime
    ) -> tuple[SealedSecret, ...]:
        """The endpoint's secrets, with a signing key where new `signatures` need the first one.

        Raises Problem when its secret does not fit them.
        """
        shared = next(one for one in known.secrets if one.public_key is None)
        check_signatures(signatures, self._master_key.open(shared.sealed, self._context))
        if "ed25519" not in signatures or public_key(known) is not None:
            return known.secrets
        return (*known.secrets, self._sealed_key(signing.new_signing_key(), now))

    def sealed_key(self, api_key: str) -> str:
        """An API key that the endpoint wants repeated, as it is kept."""
        return self._master_key.seal(api_key, self._context)

    def sealed_headers(self, headers: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
        """Headers as they are kept. One that is given as `***` stays what it was in `known`. Raises Problem."""
        kept = {}
        for name, value in headers.items():
            if value != MASKED:
                kept[name] = self._master_key.seal(value, self._context)
            elif name in known:
                kept[name] = known[name]
            else:
                raise Problem("VALIDATION_ERROR", f"Header {name!r} has no value to be kept.", field="headers")
        return kept

    def sealed_certificate(self, given: ClientCertificate) -> SealedCertificate:
        """A client certificate as it is kept. Raises Problem for one that no receiver could accept."""
        try:
            expires_at = client_certificates.judged(given).expires_at
        except ClientCertificateInvalid as error:
            raise Problem("VALIDATION_ERROR", str(error), field="clientCertificate") from None
        if expires_at <= datetime.now(UTC):
            raise Problem("VALIDATION_ERROR", "The certificate has run out.", field="clientCertificate")
        return SealedCertificate(
            certificate=given.certificate, sealed_key=self._master_key.seal(given.private_key, self._context)
        )

    def _sealed_secret(self, secret: str, now: datetime) -> SealedSecret:
        sealed = self._master_key.seal(secret, self._context)
        return SealedSecret(id=ids.short_id("sec_"), sealed=sealed, created_at=now)

    def _sealed_key(self, signing_key: str, now: datetime) -> SealedSecret:
        try:
            public = signing.public_key_of(signing_key)
        except signing.WebhookSecretInvalid as error:
            raise Problem("VALIDATION_ERROR", str(error), field="signingKey") from None
        sealed = self._master_key.seal(signing_key, self._context)
        return SealedSecret(id=ids.short_id("sec_"), sealed=sealed, created_at=now, public_key=public)


def public_key(endpoint: Endpoint) -> str | None:
    """What receivers verify `v1a` signatures by; None for an endpoint that has no signing key."""
    return next((one.public_key for one in endpoint.secrets if one.public_key and one.expires_at is None), None)


def check_signatures(wanted: tuple[SignatureScheme, ...] | None, secret: str | None) -> tuple[SignatureScheme, ...]:
    """The schemes to sign by. A secret that is no Standard Webhooks secret can sign in the other ways alone."""
    if secret is not None:
        if signing.is_signing_key(secret):
            raise Problem("VALIDATION_ERROR", "This is a signing key; give it as signingKey.", field="secret")
        try:
            signing.decode_webhook_secret(secret)
        except signing.WebhookSecretInvalid as error:
            if wanted is None:
                return ("device_gateway",)
            if "standard" in wanted:
                raise Problem("VALIDATION_ERROR", str(error), field="secret") from None
    return _BY_DEFAULT if wanted is None else wanted


def check_headers(headers: Mapping[str, str], signatures: tuple[SignatureScheme, ...], body_hmac: BodyHmac) -> None:
    """Raises Problem about a header that cannot be sent, or that only we may write."""
    if len(headers) > MAX_HEADERS:
        raise Problem("VALIDATION_ERROR", f"At most {MAX_HEADERS} headers.", field="headers")
    seen = set()
    if "body_hmac" in signatures:
        refusal = header_refusal(body_hmac.header, body_hmac.prefix)
        if signing.is_written_by_us(body_hmac.header) and body_hmac.header != BodyHmac().header:
            refusal = "this header is written by us"
        if refusal is not None:
            raise Problem("VALIDATION_ERROR", f"Header {body_hmac.header!r}: {refusal}.", field="bodyHmac")
        seen.add(body_hmac.header.lower())
    for name, value in headers.items():
        refusal = header_refusal(name, value)
        if signing.is_written_by_us(name):
            refusal = "this header is written by us"
        elif name.lower() in seen:
            refusal = "it is there twice"
        if refusal is not None:
            raise Problem("VALIDATION_ERROR", f"Header {name!r}: {refusal}.", field="headers")
        seen.add(name.lower())
