"""Real deliveries for receivers: a dispatcher on a real broker posts events that are hard to sign and to read."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from kurir.contracts.content import Location, Text
from kurir.contracts.deliveries import DeliveryAttempt
from kurir.contracts.records import Endpoint, SealedSecret
from kurir.runtime.signing import public_key_of
from tests.support.conditions import until
from tests.support.dispatcher import Stage, a_message
from tests.support.webhook_receiver import Received

TEXTS = [
    "Halo!",
    "Grüße 👋🏽 — \u202eright to left\u202c",
    "\u2028 and \u2029 end lines in JavaScript, \u0000 ends strings in C",
    '"quotes", \\backslashes\\, </script>, tab\t, /slashes/, \x7f',
    "x" * 65_536,
    "漢字" * 32_000,  # longer than a webhook's body may be
]


async def an_endpoint(stage: Stage, url: str, *secrets: str, **fields: Any) -> Endpoint:
    """An endpoint with these secrets, the newest first; those behind the first of their kind run out in an hour."""
    now = datetime.now(UTC)
    identifier = fields.pop("id", "we1")
    kept = [
        SealedSecret(
            id=f"s{index}",
            sealed=stage.sealed(secret, "t1", identifier),
            created_at=now - timedelta(seconds=index),
            expires_at=now + timedelta(hours=1) if index else None,
            public_key=public_key_of(secret) if secret.startswith("whsk_") else None,
        )
        for index, secret in enumerate(secrets)
    ]
    return await stage.endpoint(url, id=identifier, secrets=tuple(kept), **fields)


async def say_hard_things(stage: Stage) -> list[str]:
    """Events whose bodies are hard to carry; their ids."""
    contents = [Text(text=text) for text in TEXTS]
    places = [Location(latitude=-6.2, longitude=106.8456), Location(latitude=1e-7, longitude=-0.0)]
    said = [await stage.say(a_message(content=content)) for content in (*contents, *places)]
    return [event.id for event in said]


async def delivered(stage: Stage, endpoint: Endpoint, ids: list[str]) -> list[DeliveryAttempt]:
    """The attempts at an endpoint when each of these events has one, one for each."""

    async def there_are_enough() -> bool:
        return len(await stage.attempts(lambda attempt: attempt.endpoint == endpoint.id)) >= len(ids)

    await until("every event was sent", there_are_enough, within_s=60)
    await stage.nothing_waits(within_s=60)
    attempts = await stage.attempts(lambda attempt: attempt.endpoint == endpoint.id)
    assert sorted(attempt.event_id for attempt in attempts) == sorted(ids)
    return attempts


@dataclass(frozen=True)
class Copy:
    """A real request, to be sent once more, whole or forged."""

    headers: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, request: Received) -> "Copy":
        passing = {"host", "content-length", "accept", "accept-encoding"}
        return cls({name: value for name, value in request.headers if name.lower() not in passing}, request.body)

    async def sent_to(self, url: str, *, body: bytes | None = None, **headers: str) -> int:
        """The status that the receiver answers."""
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {name: value for name, value in self.headers.items() if name.lower() not in changed}
        async with httpx.AsyncClient(trust_env=False, timeout=15) as client:
            answer = await client.post(url, content=self.body if body is None else body, headers={**kept, **changed})
        return answer.status_code
