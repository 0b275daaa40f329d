"""Projects: a token for each application of an account, and QR codes in frames of its web sites alone."""

from collections.abc import AsyncIterator

import pytest

from tests.support.api_server import Api, Client, running_api
from tests.support.conditions import until
from tests.support.nats_server import NatsServer

ORIGIN = "https://app.example.com"


@pytest.fixture
async def api(nats_server: NatsServer) -> AsyncIterator[Api]:
    async with running_api(nats_server.url, public_url="https://wa.example.net/") as running:
        yield running


async def a_project(tenant: Client, *origins: str) -> tuple[str, Client]:
    made = await tenant.post("/admin/projects", json={"name": "Shop", "allowedOrigins": origins or [ORIGIN]})
    assert made.status_code == 201, made.text
    return made.json()["id"], Client(tenant.http, made.json()["token"])


async def embedded(project: Client, device: str, origin: str = ORIGIN) -> str:
    made = await project.post(f"/devices/{device}/embed-token", json={"returnOrigin": origin})
    assert made.status_code == 200, made.text
    assert made.json()["url"] == f"https://wa.example.net/embed/qr?token={made.json()['token']}"
    return str(made.json()["token"])


async def test_a_projects_token_is_shown_once_and_acts_for_the_account(api: Api) -> None:
    tenant = await api.tenant()
    device = await tenant.device()
    made = (await tenant.post("/admin/projects", json={"name": "Shop", "allowedOrigins": [ORIGIN]})).json()
    assert made["token"].startswith("wagw_")
    (listed,) = (await tenant.get("/admin/projects")).json()
    assert listed == {key: value for key, value in made.items() if key != "token"}
    assert [one["id"] for one in (await Client(api.http, made["token"]).get("/devices")).json()] == [device]


async def test_a_project_is_changed_and_deleted_by_its_account_alone(api: Api) -> None:
    tenant, other = await api.tenant(), await api.tenant()
    project_id, project = await a_project(tenant)
    path = f"/admin/projects/{project_id}"
    changed = await tenant.patch(path, json={"allowedOrigins": ["https://other.example.com"]})
    assert (changed.json()["name"], changed.json()["allowedOrigins"]) == ("Shop", ["https://other.example.com"])
    for stranger in (other, project):
        expected = 404 if stranger is other else 403
        assert (await stranger.patch(path, json={"name": "Mine"})).status_code == expected
        assert (await stranger.delete(path)).status_code == expected
    assert (await other.get("/admin/projects")).json() == []
    assert (await tenant.delete(path)).status_code == 204
    assert (await project.get("/devices")).status_code == 401


@pytest.mark.parametrize("origin", ["app.example.com", "https://app.example.com/", "https://*", "javascript:x", "null"])
async def test_what_is_no_origin_is_refused(api: Api, origin: str) -> None:
    tenant = await api.tenant()
    answer = await tenant.post("/admin/projects", json={"name": "Shop", "allowedOrigins": [origin]})
    assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")


async def test_an_embed_token_shows_one_device_being_paired_and_nothing_else(api: Api) -> None:
    tenant = await api.tenant()
    device, another = await tenant.device(), await tenant.device()
    _, project = await a_project(tenant)
    token = await embedded(project, device)
    assert (await api.http.get(f"/devices?token={token}")).status_code == 401
    assert (await api.http.get(f"/devices/{another}/events?token={token}")).status_code == 404
    assert (await api.http.get(f"/devices/{device}/events?token={token}x")).status_code == 401
    async with api.http.stream("GET", f"/devices/{device}/events?token={token}") as stream:
        assert stream.status_code == 200
        async for line in stream.aiter_lines():
            if line.startswith("data:"):
                assert '"status":"DISCONNECTED"' in line
                break
    assert (await api.http.post(f"/embed/connect?token={token}")).status_code == 202

    async def is_wanted() -> bool:
        return bool((await tenant.get(f"/devices/{device}")).json()["status"] == "CONNECTING")

    await until("it is to connect", is_wanted)


async def test_the_page_is_framed_by_its_origin_alone(api: Api) -> None:
    tenant = await api.tenant()
    _, project = await a_project(tenant)
    page = await api.http.get(f"/embed/qr?token={await embedded(project, await tenant.device())}")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert f"frame-ancestors {ORIGIN}" in policy
    assert "script-src 'self'" in policy
    assert (await api.http.get("/embed/qr.js")).status_code == 200
    assert (await api.http.get("/embed/qr.html")).status_code == 404
    assert (await api.http.get("/embed/qr?token=none")).status_code == 401


async def test_only_an_allowed_origin_and_a_projects_token_make_embed_tokens(api: Api) -> None:
    tenant, other = await api.tenant(), await api.tenant()
    device = await tenant.device()
    project_id, project = await a_project(tenant)
    path = f"/devices/{device}/embed-token"
    assert (await tenant.post(path, json={"returnOrigin": ORIGIN})).status_code == 403
    refused = await project.post(path, json={"returnOrigin": "https://evil.example.com"})
    assert (refused.status_code, refused.json()["field"]) == (403, "returnOrigin")
    _, foreign = await a_project(other)
    assert (await foreign.post(path, json={"returnOrigin": ORIGIN})).status_code == 404
    token = await embedded(project, device)
    await tenant.patch(f"/admin/projects/{project_id}", json={"allowedOrigins": []})
    assert (await api.http.get(f"/embed/qr?token={token}")).status_code == 403
    await tenant.delete(f"/admin/projects/{project_id}")
    assert (await api.http.get(f"/embed/qr?token={token}")).status_code == 401
