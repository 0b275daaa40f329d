"""Fonnte's webhooks, from the device's own setting to its receiver: their numbers are those of the API."""

import json
from collections.abc import AsyncIterator

import pytest

from tests.contract.dialects.fonnte.conftest import PHONE, Account
from tests.support.api_server import MASTER_KEY
from tests.support.connected_devices import Gateway, running_gateway
from tests.support.dispatcher import Stage
from tests.support.nats_server import NatsServer
from tests.support.webhook_receiver import WebhookReceiver

ECHO = "628125550114"  # answers what it is told


@pytest.fixture
async def gateway(nats_server: NatsServer) -> AsyncIterator[Gateway]:
    async with (
        running_gateway(nats_server.url, egress_allow="127.0.0.1/32") as running,
        Stage(nats_server) as stage,
        stage.dispatcher(master_key=MASTER_KEY),
    ):
        yield running


@pytest.mark.shows("fonnte", "POST /update-device", "webhook", "webhookstatus")
@pytest.mark.shows("fonnte", "webhook: incoming", "device", "sender", "message", "timestamp", "inboxid")
@pytest.mark.shows("fonnte", "webhook: status", "device", "id", "stateid", "status", "state", "timestamp")
async def test_what_is_sent_and_received_is_told_and_can_be_answered(account: Account) -> None:
    async with WebhookReceiver() as receiver:
        urls = {"webhook": receiver.url("/in"), "webhookstatus": receiver.url("/status")}
        kept = await account.post("/update-device", data=urls)
        assert kept.status_code == 200, kept.text
        sent = (await account.post("/send", {"target": ECHO, "message": "Hi"})).json()
        statuses = await receiver.wait_for(3, where=lambda request: request.target == "/status")
        told = [json.loads(request.body) for request in statuses]
        assert {one["id"] for one in told} == set(sent["id"])
        assert [one["status"] for one in told if one["status"] == "sent"] == ["sent"]
        assert {one["device"] for one in told} == {PHONE}
        (request,) = await receiver.wait_for(1, where=lambda request: request.target == "/in")
        incoming = json.loads(request.body)
        assert (incoming["device"], incoming["sender"], incoming["message"]) == (PHONE, ECHO, "You wrote: Hi")
        answer = await account.post("/send", {"target": ECHO, "message": "x", "inboxid": incoming["inboxid"]})
        assert answer.status_code == 200, answer.text
