"""Keys and tenants, over HTTP and from the command line."""

import asyncio
import os
import sys
from typing import NamedTuple

from kurir.contracts.deliveries import ConfigurationChanged, decode_audit
from tests.support.api_server import Api, Client, running_api
from tests.support.conditions import until
from tests.support.nats_server import NatsServer


class Finished(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str


async def command_line(url: str, *arguments: str, module: str = "kurir.api.commands", stdin: str = "") -> Finished:
    """Run `kurir <arguments>` as a process of its own."""
    group, *rest = arguments
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        f"import sys; from {module} import {group}; {group}(sys.argv[1:])",
        *rest,
        env={**os.environ, "NATS_URL": url},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
    return Finished(process.returncode or 0, stdout.decode(), stderr.decode())


async def test_a_rotated_key_replaces_the_one_before_at_once(api: Api) -> None:
    tenant = await api.tenant()
    fresh = (await tenant.post("/auth/rotate-key")).json()["apiKey"]
    assert len(fresh) == 64
    assert int(fresh, 16)
    assert (await tenant.get("/auth/me")).status_code == 401
    assert (await Client(api.http, fresh).get("/auth/me")).json()["id"] == tenant.id


async def test_keys_are_shown_once_and_end_when_revoked(api: Api) -> None:
    tenant = await api.tenant()
    made = (await api.operator.post(f"/tenants/{tenant.id}/keys", json={"name": "second"})).json()
    second = Client(api.http, made["apiKey"])
    assert (await second.get("/auth/me")).status_code == 200
    listed = (await api.operator.get(f"/tenants/{tenant.id}/keys")).json()
    assert [key["name"] for key in listed] == ["default", "second"]
    assert all("apiKey" not in key for key in listed)
    assert listed[1]["hint"] == made["apiKey"][-4:]
    assert (await api.operator.delete(f"/tenants/{tenant.id}/keys/{made['id']}")).status_code == 204
    assert (await second.get("/auth/me")).status_code == 401
    assert (await api.operator.delete(f"/tenants/{tenant.id}/keys/{made['id']}")).status_code == 404


async def test_a_deleted_tenant_is_gone_with_its_keys_devices_and_webhooks(api: Api) -> None:
    tenant = await api.tenant()
    await tenant.device()
    assert (await api.operator.delete(f"/tenants/{tenant.id}")).status_code == 204
    assert (await tenant.get("/devices")).status_code == 401
    assert (await api.operator.get(f"/tenants/{tenant.id}")).status_code == 404
    gone = await api.bus.subjects("KV_devices", f"$KV.devices.{tenant.id}.>")
    last = [await api.bus.last_by_subject("KV_devices", subject) for subject in gone]
    assert all(one is not None and one.headers["KV-Operation"] == "DEL" for one in last)


async def test_what_is_changed_is_told_to_the_audit_without_secrets(api: Api) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    webhook = (await tenant.post("/webhooks", json={"url": "https://example.com/h"})).json()
    await tenant.post(f"/webhooks/{webhook['id']}/rotate-secret")
    await tenant.post("/auth/rotate-key")
    stored = await api.bus.read_from("AUDIT", f"kurir.aud.{tenant.id}.>", 1, 100)
    changes = [decode_audit(one.data) for one in stored]
    told = [(change.what, change.target) for change in changes if isinstance(change, ConfigurationChanged)]
    assert [what for what, _ in told] == [
        "tenant.created",
        "key.created",
        "device.created",
        "endpoint.created",
        "endpoint.secret_rotated",
        "key.rotated",
    ]
    assert ("device.created", device) in told
    everything = b"".join(one.data for one in stored).decode()
    assert tenant.key not in everything
    assert webhook["secret"] not in everything


async def test_tenants_and_keys_made_on_the_command_line_work_at_once(api: Api, nats_server: NatsServer) -> None:
    made = await command_line(nats_server.url, "tenant", "create", "Toko", "--id", "toko", "--country", "id")
    assert (made.exit_code, made.stdout.strip()) == (0, "toko")
    key = await command_line(nats_server.url, "key", "create", "--tenant", "toko", "--name", "till")
    assert key.exit_code == 0
    tenant = Client(api.http, key.stdout.strip())

    async def is_known() -> bool:
        return (await tenant.get("/auth/me")).status_code == 200

    await until("the key works", is_known)
    listed = await command_line(nats_server.url, "key", "list", "--tenant", "toko")
    key_id, name, hint = listed.stdout.strip().split("\t")
    assert (name, hint) == ("till", "…" + tenant.key[-4:])
    assert tenant.key not in listed.stdout + listed.stderr
    assert "toko\tToko\tactive" in (await command_line(nats_server.url, "tenant", "list")).stdout
    await command_line(nats_server.url, "key", "revoke", key_id, "--tenant", "toko")

    async def is_unknown() -> bool:
        return (await tenant.get("/auth/me")).status_code == 401

    await until("the key has ended", is_unknown)


async def test_an_operators_key_is_made_on_the_command_line(api: Api, nats_server: NatsServer) -> None:
    key = await command_line(nats_server.url, "key", "create", "--operator")
    operator = Client(api.http, key.stdout.strip())

    async def is_operator() -> bool:
        return (await operator.get("/tenants")).status_code == 200

    await until("the key works", is_operator)


async def test_the_command_line_says_in_a_sentence_what_is_wrong(api: Api, nats_server: NatsServer) -> None:
    unknown = await command_line(nats_server.url, "key", "create", "--tenant", "nobody")
    assert (unknown.exit_code, unknown.stderr) == (1, "Error: There is no such tenant.\n")
    neither = await command_line(nats_server.url, "key", "create")
    assert neither.exit_code == 2
    await command_line(nats_server.url, "tenant", "create", "A", "--id", "same")
    again = await command_line(nats_server.url, "tenant", "create", "B", "--id", "same")
    assert again.exit_code == 1


async def test_a_key_made_at_one_replica_is_good_at_another_at_once(api: Api, nats_server: NatsServer) -> None:
    async with running_api(nats_server.url) as other:
        for _ in range(20):
            made = (await api.operator.post("/tenants", json={"name": "Tenant"})).json()
            key = (await api.operator.post(f"/tenants/{made['id']}/keys")).json()["apiKey"]
            answer = await Client(other.http, key).get("/auth/me")
            assert (answer.status_code, answer.json().get("id")) == (200, made["id"])


async def test_a_wrong_key_is_refused_again_and_again(api: Api) -> None:
    for _ in range(3):
        answer = await Client(api.http, "f" * 64).get("/auth/me")
        assert (answer.status_code, answer.json()["code"]) == (401, "INVALID_API_KEY")


async def test_an_account_makes_and_revokes_keys_of_its_own(api: Api) -> None:
    tenant, stranger = await api.tenant(), await api.tenant()
    answer = await tenant.post("/auth/keys", json={"name": "till"})
    made = answer.json()
    till = Client(api.http, made["apiKey"])
    assert (await till.get("/auth/me")).json()["id"] == tenant.id
    listed = (await tenant.get("/auth/keys")).json()
    assert [(key["name"], key["hint"]) for key in listed] == [("default", tenant.key[-4:]), ("till", till.key[-4:])]
    assert "apiKey" not in listed[1]
    assert [key["name"] for key in (await stranger.get("/auth/keys")).json()] == ["default"]
    assert (await stranger.delete(f"/auth/keys/{made['id']}")).status_code == 404
    assert (await tenant.delete(f"/auth/keys/{made['id']}")).status_code == 204
    assert (await till.get("/auth/me")).status_code == 401


async def test_a_key_of_one_device_manages_no_keys(api: Api) -> None:
    tenant, stranger = await api.tenant(), await api.tenant()
    device, theirs = await tenant.device(), await stranger.device()
    made = (await tenant.post("/auth/keys", json={"name": "one device", "deviceId": device})).json()
    bound = Client(api.http, made["apiKey"])
    assert [one["id"] for one in (await bound.get("/devices")).json()] == [device]
    for answer in (
        await bound.get("/auth/keys"),
        await bound.post("/auth/keys", json={"name": "more"}),
        await bound.delete(f"/auth/keys/{made['id']}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    refused = await tenant.post("/auth/keys", json={"name": "x", "deviceId": theirs})
    assert (refused.status_code, refused.json()["field"]) == (404, "deviceId")
