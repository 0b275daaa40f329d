"""What an `Idempotency-Key` means: the same key and body is the same message, within a day.

The message id is remembered before the command is published. So a repeat, also of a request that died in between,
and also at the same moment on another replica, publishes under the same id or not at all.
"""

import contextlib
import hashlib

import msgspec

from kurir.api.problems import Problem
from kurir.contracts import ids
from kurir.contracts.records import Idempotent
from kurir.runtime import keyvalue
from kurir.runtime.broker import Bus, PublishError
from kurir.runtime.clock import Clock
from kurir.runtime.keyvalue import KeyExists, RevisionConflict

BUCKET = "idempotency"
MAX_KEY_LENGTH = 255

_decoder = msgspec.json.Decoder(Idempotent)
_encoder = msgspec.json.Encoder()


class Remembered(msgspec.Struct, frozen=True):
    """What a key stands for; with `record.accepted` there is nothing left to publish. `is_repeat`: it stood before."""

    key: str
    record: Idempotent
    revision: int
    is_repeat: bool


class IdempotencyKeys:
    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock

    async def remember(
        self,
        tenant: str,
        caller_key: str,
        body_digest: str,
        *,
        message_id: str | None = None,
        whatever_body: bool = False,
    ) -> Remembered:
        """The message that `caller_key` stands for, known, or new with this id (None: any).

        Raises Problem IDEMPOTENCY_CONFLICT when the key was used with another body, unless `whatever_body`; or
        PublishError.
        """
        if not 1 <= len(caller_key) <= MAX_KEY_LENGTH:
            raise Problem(
                "VALIDATION_ERROR", f"Idempotency-Key has 1 to {MAX_KEY_LENGTH} characters.", field="Idempotency-Key"
            )
        key = _key_of(tenant, caller_key)
        record = Idempotent(message_id=message_id or ids.uuid7(), body_digest=body_digest, at=self._clock.now())
        try:
            revision = await keyvalue.create(self._bus, BUCKET, key, _encoder.encode(record))
            return Remembered(key, record, revision, is_repeat=False)
        except KeyExists:
            stored = await keyvalue.read(self._bus, BUCKET, key)
        if stored is None or keyvalue.is_marker(stored.headers):  # ran out, or was forgotten, at this very moment
            return await self.remember(
                tenant, caller_key, body_digest, message_id=message_id, whatever_body=whatever_body
            )
        known = _decoder.decode(stored.data)
        if known.body_digest != body_digest and not whatever_body:
            raise Problem("IDEMPOTENCY_CONFLICT", field="Idempotency-Key")
        return Remembered(key, known, stored.seq, is_repeat=True)

    async def is_known(self, tenant: str, caller_key: str | None) -> bool:
        """Whether `caller_key` stands for something already. Raises PublishError."""
        if caller_key is None:
            return False
        stored = await keyvalue.read(self._bus, BUCKET, _key_of(tenant, caller_key))
        return stored is not None and not keyvalue.is_marker(stored.headers)

    async def forget(self, remembered: Remembered) -> None:
        """Nothing came of it: a repeat is a first request again. Raises PublishError."""
        with contextlib.suppress(RevisionConflict):
            await keyvalue.delete(self._bus, BUCKET, remembered.key, revision=remembered.revision)

    async def accepted(self, remembered: Remembered, *, answer: str | None = None) -> None:
        """Note that the command is stored, or what was answered.

        Should this fail, a repeat publishes again under the same id, or asks the owner, who remembers: harmless.
        """
        record = msgspec.structs.replace(remembered.record, accepted=True, answer=answer)
        try:
            await keyvalue.put(self._bus, BUCKET, remembered.key, _encoder.encode(record), revision=remembered.revision)
        except (RevisionConflict, PublishError):
            return


def _key_of(tenant: str, caller_key: str) -> str:
    return keyvalue.key_of(tenant, hashlib.sha256(caller_key.encode()).hexdigest())
