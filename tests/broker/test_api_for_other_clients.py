"""What other gateways' APIs are built on: devices by code, keys of any form, waiting for an outcome."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import pytest

from kurir.api.legacy.access import credential
from kurir.contracts import ids, subjects
from kurir.contracts.commands import SendMessage
from kurir.contracts.content import Text
from kurir.contracts.records import ApiKey
from kurir.runtime.outcomes import Outcomes
from kurir.runtime.partitions import partition_of
from kurir.runtime.registry import Registry
from tests.broker.test_api_keys import Finished, command_line
from tests.support.api_server import MASTER_KEY, Api, Client, running_api
from tests.support.conditions import until
from tests.support.connected_devices import Gateway, running_gateway
from tests.support.nats_server import NatsServer


@pytest.fixture
async def gateway(nats_server: NatsServer) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_server.url) as running:
        yield running


async def test_a_device_has_a_code_that_no_other_of_the_tenant_has(api: Api) -> None:
    tenant, other = await api.tenant(), await api.tenant()
    made = await tenant.post("/devices", json={"code": "CS_HQ_NODE1", "engine": "sandbox"})
    assert made.json()["code"] == "CS_HQ_NODE1"
    again = await tenant.post("/devices", json={"code": "CS_HQ_NODE1", "engine": "sandbox"})
    assert (again.status_code, again.json()["field"]) == (409, "code")
    id_as_code = await tenant.post("/devices", json={"code": made.json()["id"], "engine": "sandbox"})
    assert id_as_code.status_code == 409
    assert (await other.post("/devices", json={"code": "CS_HQ_NODE1", "engine": "sandbox"})).status_code == 201


async def test_a_code_is_free_again_when_its_device_is_gone_or_has_another(api: Api) -> None:
    tenant = await api.tenant()
    first = await tenant.device(code="a")
    assert (await tenant.patch(f"/devices/{first}", json={"code": "b"})).json()["code"] == "b"
    second = await tenant.device(code="a")
    assert (await tenant.patch(f"/devices/{second}", json={"code": "b"})).status_code == 409
    await tenant.delete(f"/devices/{first}")
    assert (await tenant.patch(f"/devices/{second}", json={"code": "b"})).status_code == 200
    assert await tenant.device(code="a") not in (first, second)


@pytest.mark.parametrize("code", ["", " a", "a ", "a/b", "a\n", "x" * 101])
async def test_what_cannot_stand_in_a_path_is_no_code(api: Api, code: str) -> None:
    answer = await (await api.tenant()).post("/devices", json={"code": code})
    assert (answer.status_code, answer.json()["field"]) == (400, "code")


async def test_of_two_devices_made_under_one_code_at_once_at_two_replicas_one_is_refused(
    api: Api, nats_server: NatsServer
) -> None:
    async with running_api(nats_server.url) as replica:
        for number in range(10):
            tenant = await api.tenant()
            there = Client(replica.http, tenant.key)
            assert (await there.get("/devices")).status_code == 200
            body = {"code": f"c{number}", "engine": "sandbox"}
            answers = await asyncio.gather(tenant.post("/devices", json=body), there.post("/devices", json=body))
            assert sorted(answer.status_code for answer in answers) == [201, 409]


async def test_keys_of_another_gateway_are_taken_over_as_they_are(api: Api) -> None:
    tenant = await api.tenant()
    await tenant.device(code="RK-7F3A")
    taken = await import_keys("wa_f1e2d3c4b5a697887766554433221100\n", api, tenant, "--device", "RK-7F3A")
    assert taken.exit_code == 0, taken.stderr
    assert "wa_f1e2" not in taken.stdout
    known = Client(api.http, "wa_f1e2d3c4b5a697887766554433221100")

    async def is_known() -> bool:
        return (await known.get("/auth/me")).status_code == 200

    await until("the key is known", is_known)
    assert (await known.post("/devices", json={})).status_code == 403


async def test_a_known_or_guessable_key_is_not_taken_over(api: Api) -> None:
    tenant = await api.tenant()
    for key, sentence in ((tenant.key, "known already"), ("1234", "16 to 512")):
        taken = await import_keys(f"{key}\n", api, tenant)
        assert taken.exit_code == 1
        assert sentence in taken.stderr


async def test_a_key_with_a_secret_opens_nothing_without_a_signature(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURIR_MASTER_KEY", MASTER_KEY)
    tenant = await api.tenant()
    line = "project-api-key-0001 project-api-secret-0001\n"
    options = ("--dialect", "rk_connect", "--option", "networks=10.0.0.0/8,::1/128")
    taken = await import_keys(line, api, tenant, *options)
    assert taken.exit_code == 0, taken.stderr

    async def refused() -> bool:
        answer = await Client(api.http, "project-api-key-0001").get("/auth/me")
        return answer.status_code == 403 and "signed" in answer.json()["message"]

    await until("the key is known", refused)
    (record,) = [key for key in await _keys(api) if key.name == "imported"]
    assert record.dialect == "rk_connect"
    assert record.options.networks == ("10.0.0.0/8", "::1/128")
    assert record.sealed_secret is not None
    assert "project-api-secret" not in record.sealed_secret


async def test_an_unknown_option_is_told(api: Api) -> None:
    tenant = await api.tenant()
    taken = await import_keys("0123456789abcdef0\n", api, tenant, "--option", "colour=red")
    assert taken.exit_code == 2
    assert "colour" in taken.stderr


def test_a_key_stands_in_any_header_with_or_without_bearer() -> None:
    assert credential([(b"apikey", b"k")], "apikey") == "k"
    assert credential([(b"authorization", b"Bearer  k")], "X-API-Key", "Authorization") == "k"
    assert credential([(b"authorization", b"k")], "Authorization") == "k"
    assert credential([(b"authorization", b"Bearer ")], "Authorization") is None
    assert credential([], "apikey") is None


async def test_the_outcome_of_a_message_reaches_who_waits_for_it(gateway: Gateway) -> None:
    tenant = await gateway.api.tenant()
    device = await gateway.connected(tenant)
    first = (await tenant.send(device)).json()["id"]
    outcomes = Outcomes(gateway.api.bus)
    await outcomes.start()
    assert await outcomes.of(first, 0.05) is None  # nobody was asked to tell it there
    message_id = ids.uuid7()
    second = SendMessage(
        id=message_id,
        tenant=tenant.id,
        device=device,
        to="6281234567890@s.whatsapp.net",
        content=Text(text="Halo!"),
        accepted_at=datetime.now(UTC),
        reply_to=f"{outcomes.prefix}.{message_id}",
    )
    subject = subjects.command(partition_of(device, subjects.COMMAND_PARTITIONS), tenant.id, device, "send")
    await gateway.api.bus.publish(subject, msgspec.json.encode(second), msg_id=message_id)
    outcome = await outcomes.of(message_id, 10)
    await outcomes.stop()
    assert outcome is not None
    assert (outcome.status, bool(outcome.whatsapp_id)) == ("sent", True)


async def import_keys(lines: str, api: Api, tenant: Client, *options: str) -> Finished:
    url = api.bus.nc.connected_url
    assert url is not None
    return await command_line(url.geturl(), "key", "import", "--tenant", tenant.id, *options, stdin=lines)


async def _keys(api: Api) -> list[ApiKey]:
    keys = Registry(api.bus, "keys", ApiKey)
    await keys.start()
    await keys.stop()
    return [key for _, key in keys.items()]
