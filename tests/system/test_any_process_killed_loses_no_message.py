"""The promise: no accepted message is lost when any process is killed at any moment.

500 messages are sent by a client that tries again, with an idempotency key each, as clients should. When a part of
them is accepted, one process gets SIGKILL and is started again, as an orchestrator would do it. Proven by counting at
the tenant's side: every message that was answered with 2xx reaches a final status, and the webhook that tells of it
arrives at least once with a good signature. Webhooks that arrive twice are counted, not forbidden.
"""

import asyncio
from collections import Counter
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.support.conditions import until
from tests.support.webhook_receiver import Received, WebhookReceiver
from tests.system.live_system import Client, LiveSystem
from tests.system.tenancy import a_connected_device, a_tenant, a_webhook

MESSAGES = 500
KILL_AFTER = 150
DEVICES = 5
FINAL = {"READ", "FAILED"}
FINAL_IN_HISTORY = FINAL | {"UNKNOWN"}
ALL_FINAL_WITHIN_S = 120.0

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.mark.parametrize("victim", ["api", "shard", "webhook-dispatcher", "scheduler", "nats-server", "mongo"])
async def test_every_accepted_message_reaches_a_final_status_and_its_webhook(
    victim: str, live_system: LiveSystem, receiver: WebhookReceiver, counted: list[str]
) -> None:
    tenant = await a_tenant(live_system)
    webhook = await a_webhook(tenant, receiver, ["message.status"])
    devices = [await a_connected_device(tenant, f"Device {index}") for index in range(DEVICES)]

    accepted = await _send_and_kill(tenant, devices, live_system, victim)

    assert len(set(accepted)) == MESSAGES
    wanted = set(accepted)
    await until(
        "every message has a final status at the webhook",
        lambda: wanted <= _finals(receiver.received).keys(),
        within_s=ALL_FINAL_WITHIN_S,
        seen=lambda: (
            f"{len(_finals(receiver.received))} of {MESSAGES}; missing e.g. "
            f"{sorted(wanted - _finals(receiver.received).keys())[:3]}"
        ),
    )
    for request in receiver.received:
        Webhook(webhook["secret"]).verify(request.body, dict(request.headers))
    for message in (accepted[0], accepted[KILL_AFTER], accepted[-1]):
        await until("the history has caught up", lambda: _is_final(tenant, message), within_s=60)  # noqa: B023
    counted.append(_count(victim, receiver.received))
    await tenant.close()


async def _send_and_kill(tenant: Client, devices: list[str], system: LiveSystem, victim: str) -> list[str]:
    accepted: list[str] = []
    numbers = iter(range(MESSAGES))

    async def sender() -> None:
        for number in numbers:
            body = {"deviceId": devices[number % DEVICES], "to": f"62812{number:08}", "text": f"message {number}"}
            headers = {"Idempotency-Key": f"{victim}-{number}"}
            answer = await tenant.call_until("POST", "/messages/send-text", body, headers=headers)
            accepted.append(answer["id"])

    async def killer() -> None:
        await until(f"{KILL_AFTER} messages are accepted", lambda: len(accepted) >= KILL_AFTER, within_s=60)
        system.kill(victim)

    async with asyncio.TaskGroup() as together:
        together.create_task(killer())
        for _ in range(16):
            together.create_task(sender())
    return accepted


async def _is_final(tenant: Client, message: str) -> bool:
    answer = await tenant.call_until("GET", f"/messages/{message}")
    return answer["status"] in FINAL_IN_HISTORY


def _finals(received: list[Received]) -> dict[str, str]:
    """Message id to final status, of all webhooks so far."""
    return {
        data["id"]: data["status"]
        for data in (request.json()["data"] for request in received)
        if data.get("status") in FINAL
    }


def _count(victim: str, received: list[Received]) -> str:
    deliveries = Counter(request.header("webhook-id") for request in received)
    doubles = sum(times - 1 for times in deliveries.values())
    data: list[dict[str, Any]] = [request.json()["data"] for request in received]
    sent_as = {(one["id"], one["messageId"]) for one in data if one.get("messageId")}
    twice = sum(times - 1 for times in Counter(message for message, _ in sent_as).values())
    unknown = sum(1 for status in _finals(received).values() if status == "FAILED")
    return (
        f"{victim} killed: {MESSAGES} accepted, {len(_finals(received))} final ({unknown} of them unknown or failed), "
        f"{len(received)} webhooks, {doubles} of them duplicates, {twice} messages sent twice"
    )
