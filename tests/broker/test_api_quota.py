"""A tenant's messages of a month: exact over replicas, counted once, and told to who has used them up."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from kurir.api.problems import Problem
from kurir.api.quota import MonthlyQuota, month_of
from kurir.api.rate_limit import SendLimit
from kurir.contracts import streams, subjects
from kurir.contracts.records import Device, Tenant
from kurir.runtime import counters
from kurir.runtime.broker import BacklogFull, BrokerUnavailable, Bus
from kurir.runtime.clock import SystemClock
from kurir.runtime.mongo import Mongo
from tests.broker.test_api_editing import Past
from tests.broker.test_api_keys import command_line
from tests.support.api_server import Api, Client, running_api
from tests.support.conditions import until
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer


@pytest.fixture
async def api(nats_server: NatsServer, mongo_server: MongoServer) -> AsyncIterator[Api]:
    async with running_api(nats_server.url, mongo_server.url) as running:
        yield running


async def usage(tenant: Client) -> dict[str, Any]:
    answer = await tenant.get("/auth/usage")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_no_more_than_the_quota_is_accepted_over_all_replicas(api: Api, nats_server: NatsServer) -> None:
    tenant = await api.tenant(messagesPerMonth=7, ratePerMinute=1000)
    device = await tenant.device()
    async with running_api(nats_server.url) as replica:
        there = Client(replica.http, tenant.key)
        answers = await asyncio.gather(*((tenant, there)[n % 2].send(device) for n in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [403] * 13
    assert {answer.json()["code"] for answer in answers if answer.status_code == 403} == {"QUOTA_EXCEEDED"}
    assert len(await api.commands()) == 7
    assert await usage(tenant) == {"messagesThisMonth": 7, "messagesPerMonth": 7}


async def test_a_quota_is_of_one_tenant_and_of_all_its_devices(api: Api) -> None:
    tenant, other = await api.tenant(messagesPerMonth=1), await api.tenant()
    first, second = await tenant.device(), await tenant.device()
    assert (await tenant.send(first)).status_code == 200
    assert (await tenant.send(second)).status_code == 403
    assert (await other.send(await other.device())).status_code == 200
    assert await usage(other) == {"messagesThisMonth": None, "messagesPerMonth": None}
    assert (await api.http.get("/auth/usage")).status_code == 401


async def test_a_repeat_under_the_same_idempotency_key_is_counted_once_and_answered_when_all_is_used(api: Api) -> None:
    tenant = await api.tenant(messagesPerMonth=2)
    device = await tenant.device()
    key = {"Idempotency-Key": "k"}
    first = await tenant.send(device, headers=dict(key))
    assert (await tenant.send(device, headers=dict(key))).json()["id"] == first.json()["id"]
    assert (await usage(tenant))["messagesThisMonth"] == 1
    assert (await tenant.send(device)).status_code == 200
    assert (await tenant.send(device)).status_code == 403
    assert (await tenant.send(device, headers=dict(key))).json()["id"] == first.json()["id"]
    assert (await usage(tenant))["messagesThisMonth"] == 2


async def test_what_was_refused_costs_nothing_of_a_higher_quota_also_under_the_same_key(api: Api) -> None:
    tenant = await api.tenant(messagesPerMonth=1)
    device = await tenant.device()
    assert (await tenant.send(device)).status_code == 200
    for _ in range(3):
        assert (await tenant.send(device, headers={"Idempotency-Key": "k"})).status_code == 403
    changed = await api.operator.patch(f"/tenants/{tenant.id}", json={"messagesPerMonth": 2})
    assert changed.json()["messagesPerMonth"] == 2
    accepted = await tenant.send(device, headers={"Idempotency-Key": "k"})
    assert accepted.status_code == 200
    assert (await tenant.send(device)).status_code == 403
    await api.operator.patch(f"/tenants/{tenant.id}", json={"messagesPerMonth": None})
    assert (await tenant.send(device)).status_code == 200
    assert len(await api.commands()) == 3


async def test_a_message_can_be_deleted_when_all_is_used(api: Api, mongo_server: MongoServer) -> None:
    tenant = await api.tenant(messagesPerMonth=0)
    device = await tenant.device()
    mongo = Mongo.connect(mongo_server.url)
    message = await Past(mongo, tenant, device).sent("sent")
    await mongo.close()
    assert (await tenant.send(device)).status_code == 403
    assert (await tenant.post(f"/messages/{message}/revoke")).status_code == 200
    assert (await usage(tenant))["messagesThisMonth"] == 0


def a_tenant(tenant_id: str = "ten_x", quota: int | None = 2) -> Tenant:
    return Tenant(id=tenant_id, name="T", created_at=datetime.now(UTC), messages_per_month=quota)


async def test_what_was_surely_not_stored_is_not_counted_unless_it_comes_again(api: Api) -> None:
    quota, tenant = MonthlyQuota(api.bus, SystemClock()), a_tenant()
    for error, may_be_repeated, used in (
        (BacklogFull(10077, "full"), False, 0),
        (BrokerUnavailable("late", outcome_unknown=True), False, 1),
        (BacklogFull(10077, "full"), True, 2),
    ):
        with pytest.raises(type(error)):
            async with quota.counted(tenant, f"m-{used}", may_be_repeated=may_be_repeated):
                raise error
        assert await quota.used(tenant) == used
    async with quota.counted(tenant, "m-2", may_be_repeated=True):
        assert await quota.used(tenant) == 2, "the repeat was counted the first time"
    with pytest.raises(Problem, match="used up"):
        async with quota.counted(tenant, "m-3", may_be_repeated=False):
            raise AssertionError("never stored")
    assert await quota.used(tenant) == 2


async def test_a_tenant_without_a_quota_asks_the_bus_nothing(api: Api) -> None:
    tenant = await api.tenant()
    assert (await tenant.send(await tenant.device())).status_code == 200
    assert await api.bus.subjects(streams.QUOTAS.name, "kurir.quota.>") == {}


async def test_each_month_begins_at_nothing(bus: Bus, api: Api) -> None:
    clock = SystemClock()
    last_month = subjects.quota("ten_x", "2020-01")
    assert await counters.add(bus, streams.QUOTAS.name, last_month, 5) == 5
    assert await MonthlyQuota(bus, clock).used(a_tenant()) == 0
    assert month_of(datetime(2026, 2, 28, 23, 59, tzinfo=UTC)) == "2026-02"
    assert await counters.total(bus, streams.QUOTAS.name, last_month) == 5


@pytest.mark.parametrize(
    "wrong", [{"messagesPerMonth": -1}, {"messagesPerMonth": "many"}, {"timeZone": "Mars/Olympus"}]
)
async def test_a_wrong_quota_or_time_zone_is_told(api: Api, wrong: dict[str, Any]) -> None:
    (field,) = wrong
    made = await api.operator.post("/tenants", json={"name": "T", **wrong})
    assert (made.status_code, made.json()["field"]) == (400, field)
    tenant = await api.tenant()
    changed = await api.operator.patch(f"/tenants/{tenant.id}", json=wrong)
    assert (changed.status_code, changed.json()["field"]) == (400, field)


async def test_operators_set_it_by_the_command_line_too(api: Api) -> None:
    url = api.bus.nc.connected_url
    assert url is not None
    options = ("--messages-per-month", "3000", "--time-zone", "Asia/Makassar")
    made = await command_line(url.geturl(), "tenant", "create", "Toko", *options)
    assert made.exit_code == 0, made.stderr

    async def is_there() -> bool:
        return (await api.operator.get(f"/tenants/{made.stdout.strip()}")).status_code == 200

    await until("the tenant is known", is_there)
    shown = (await api.operator.get(f"/tenants/{made.stdout.strip()}")).json()
    assert (shown["messagesPerMonth"], shown["timeZone"]) == (3000, "Asia/Makassar")


async def test_devices_of_one_id_at_two_tenants_have_a_limit_each(api: Api) -> None:
    limit, now = SendLimit(api.bus), datetime.now(UTC)
    tenants = [Tenant(id=id_, name="T", created_at=now, rate_per_minute=1) for id_ in ("ten_1", "ten_2")]
    devices = [
        Device(id="d", tenant=tenant.id, name="d", engine="sandbox", created_at=now, updated_at=now)
        for tenant in tenants
    ]

    async def is_used_up() -> bool:  # the minute may end between two messages
        try:
            await limit.hit(tenants[0], devices[0])
        except Problem:
            return True
        return False

    await until("the first one's minute is used up", is_used_up)
    assert await limit.hit(tenants[1], devices[1])
