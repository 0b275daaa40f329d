"""Who is believed: keys, addresses and signatures, and the clients that cannot sign what they send."""

import json
import time

import pytest

from kurir.contracts.deliveries import ConfigurationChanged, decode_audit
from kurir.contracts.records import ApiKey
from kurir.runtime.registry import Registry
from tests.broker.test_api_keys import command_line
from tests.contract.dialects.rk_connect.conftest import CODE, SENT, Project, failure, project_of, signature, until_known
from tests.support.api_server import MASTER_KEY, Api, Client
from tests.support.printed_examples import BEGINNINGS

NAME = "rk_connect"
SEND = "POST /api/v1/send"
STATUS = "GET /api/v1/status/{uuid}"
NOBODY = "550e8400-e29b-41d4-a716-446655440000"


def now(ahead_s: int = 0) -> str:
    return str(int(time.time()) + ahead_s)


@pytest.mark.shows(NAME, SEND, "X-API-KEY", "error 401 MISSING_API_KEY", "error 401 INVALID_API_KEY")
async def test_a_missing_or_unknown_key_is_told(project: Project) -> None:
    assert failure(await project.send(headers={"X-API-KEY": None})) == (401, "MISSING_API_KEY")
    assert failure(await project.send(headers={"X-API-KEY": "0" * 64})) == (401, "INVALID_API_KEY")
    operator = await project.send(headers={"X-API-KEY": project.api.operator_key})
    assert failure(operator) == (401, "INVALID_API_KEY")


@pytest.mark.shows(NAME, SEND, "X-TIMESTAMP", "X-SIGNATURE", "error 401 MISSING_SIGNATURE_HEADERS")
@pytest.mark.shows(NAME, STATUS, "X-TIMESTAMP", "X-SIGNATURE", "error 401 MISSING_SIGNATURE_HEADERS")
async def test_a_missing_signature_or_timestamp_is_told(project: Project) -> None:
    for name in ("X-TIMESTAMP", "X-SIGNATURE"):
        for value in (None, ""):
            headers = {name: value}
            assert failure(await project.send(headers=headers)) == (401, "MISSING_SIGNATURE_HEADERS")
            status = await project.request("GET", f"/api/v1/status/{NOBODY}", headers=headers)
            assert failure(status) == (401, "MISSING_SIGNATURE_HEADERS")
    assert await project.messages() == []


@pytest.mark.shows(NAME, SEND, "X-SIGNATURE", "error 401 INVALID_SIGNATURE")
@pytest.mark.shows(NAME, STATUS, "X-SIGNATURE", "error 401 INVALID_SIGNATURE")
async def test_a_signature_over_anything_else_is_told(project: Project) -> None:
    other = await project_of(project.api, project.tenant, "RK-OTHER")
    wrong = [
        await project.send(over=b"{}"),
        await project.send(over="nothing"),
        await project.send(headers={"X-API-KEY": other.key}),
        await project.send(headers={"X-TIMESTAMP": now(-1)}),
        await project.send(headers={"X-SIGNATURE": "é" * 32}),
        await project.request("GET", f"/api/v1/status/{NOBODY}", over=b"x"),
        await project.upload("image", "a.png", BEGINNINGS["png"], over=b"x"),
    ]
    assert [failure(answer) for answer in wrong] == [(401, "INVALID_SIGNATURE")] * len(wrong)
    assert await project.messages() == []
    assert await project.api.bus.subjects("OBJ_media", "$O.media.C.>") == {}, "no file of a stranger stays"


@pytest.mark.shows(NAME, SEND, "X-TIMESTAMP", "error 401 TIMESTAMP_EXPIRED")
async def test_a_timestamp_is_good_for_five_minutes(project: Project) -> None:
    for timestamp in (now(-310), now(310), f"{now()}000", "today", "1e9"):
        assert failure(await project.send(timestamp=timestamp)) == (401, "TIMESTAMP_EXPIRED"), timestamp
    for timestamp in (now(-290), now(290)):
        assert (await project.send(timestamp=timestamp)).status_code == 200, timestamp


async def test_hex_digits_may_be_capitals_and_the_same_signature_may_come_again(project: Project) -> None:
    body, timestamp = json.dumps(SENT).encode(), now()
    headers = {"X-SIGNATURE": signature(project.secret, project.key, timestamp, body).upper(), "X-REQUEST-ID": "r-1"}
    answers = [await project.send(content=body, timestamp=timestamp, headers=dict(headers)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["data"] == answers[1].json()["data"]


@pytest.mark.shows(NAME, SEND, "X-SIGNATURE", "message")
async def test_json_may_be_signed_as_php_writes_it_and_sent_as_its_http_client_does(project: Project) -> None:
    signed = '{"recipient":"6281234567890","type":"text","message":"Selamat pagi é 😀 https:\\/\\/a.b\\/c"}'.encode()
    sent = rb'{"recipient":"6281234567890","type":"text","message":"Selamat pagi \u00e9 \ud83d\ude00 https:\/\/a.b\/c"}'
    assert (await project.send(content=sent, over=signed)).status_code == 200
    (message,) = await project.messages()
    assert getattr(message.content, "text", "") == "Selamat pagi é 😀 https://a.b/c"
    assert failure(await project.send(content=sent.replace(b"Selamat", b"Hello"), over=signed))[0] == 401


@pytest.mark.shows(NAME, SEND, "X-SIGNATURE", "media")
async def test_a_form_may_be_signed_as_it_is_or_as_an_empty_body_which_is_audited(project: Project) -> None:
    whole = await project.upload("image", "a.png", BEGINNINGS["png"])
    empty = await project.upload("image", "a.png", BEGINNINGS["png"], over="nothing")
    assert (whole.status_code, empty.status_code) == (200, 200)
    facts = [fact for fact in await audited(project.api) if fact.what == "message.form_not_signed"]
    assert [(fact.target, fact.device) for fact in facts] == [(empty.json()["data"]["id"], project.device)]
    assert facts[0].actor == (await key_record(project)).id


async def test_a_key_may_take_nothing_but_the_signature_of_the_whole_form(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = await made_by_command_line(api, monkeypatch, "multipart_signature=raw")
    assert (await project.upload("image", "a.png", BEGINNINGS["png"])).status_code == 200
    empty = await project.upload("image", "a.png", BEGINNINGS["png"], over="nothing")
    assert failure(empty) == (401, "INVALID_SIGNATURE")
    assert await audited_uses(api) == []


@pytest.mark.shows(NAME, SEND, "error 403 IP_NOT_ALLOWED")
@pytest.mark.shows(NAME, STATUS, "error 403 IP_NOT_ALLOWED")
async def test_a_key_may_be_bound_to_networks(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    away = await made_by_command_line(api, monkeypatch, "networks=10.0.0.0/8,2001:db8::/32", known_by="IP_NOT_ALLOWED")
    assert failure(await away.send()) == (403, "IP_NOT_ALLOWED")
    assert failure(await away.request("GET", f"/api/v1/status/{NOBODY}")) == (403, "IP_NOT_ALLOWED")
    here = await made_by_command_line(api, monkeypatch, "networks=10.0.0.0/8,127.0.0.0/8")
    assert (await here.send()).status_code == 200


async def test_a_network_that_is_none_is_told_when_the_key_is_made(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURIR_MASTER_KEY", MASTER_KEY)
    tenant = await api.tenant()
    made = await command_line(nats_url(api), "key", "create", "--tenant", tenant.id, "--option", "networks=10.0.0.0/99")
    assert made.exit_code == 1
    assert "10.0.0.0/99" in made.stderr


async def test_a_key_without_a_secret_signs_nothing(project: Project) -> None:
    headers = {"X-API-KEY": project.tenant.key, "X-TIMESTAMP": None, "X-SIGNATURE": None}
    assert (await project.send(headers=dict(headers))).status_code == 200
    assert (await project.upload("image", "a.png", BEGINNINGS["png"], headers=dict(headers))).status_code == 200
    assert await audited_uses(project.api) == []


async def test_a_signed_key_is_shown_with_its_secret_once_and_opens_nothing_else(project: Project) -> None:
    listed = (await project.tenant.get("/auth/keys")).json()
    assert [key["signed"] for key in listed] == [False, True]
    assert not any("apiSecret" in key or "apiKey" in key for key in listed)
    assert (await Client(project.api.http, project.key).get("/auth/me")).status_code == 403
    of_operator = await project.api.operator.post(f"/tenants/{project.tenant.id}/keys", json={"signed": True})
    assert len(of_operator.json()["apiSecret"]) == 64


@pytest.mark.shows(NAME, SEND, "X-API-KEY", "X-SIGNATURE")
async def test_a_key_and_its_secret_are_taken_over_from_the_other_gateway(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KURIR_MASTER_KEY", MASTER_KEY)
    tenant = await api.tenant()
    arguments = ("key", "import", "--tenant", tenant.id, "--dialect", "rk_connect")
    taken = await command_line(nats_url(api), *arguments, stdin="pk_live_4f3c2b1a09 sk_live_0123456789\n")
    assert taken.exit_code == 0, taken.stderr
    project = Project(api, tenant, await tenant.device(code=CODE), "pk_live_4f3c2b1a09", "sk_live_0123456789")
    await until_known(project)
    assert (await project.send()).status_code == 200


async def made_by_command_line(
    api: Api, monkeypatch: pytest.MonkeyPatch, option: str, known_by: str = "MISSING_DEVICE_CODE"
) -> Project:
    monkeypatch.setenv("KURIR_MASTER_KEY", MASTER_KEY)
    tenant = await api.tenant()
    made = await command_line(nats_url(api), "key", "create", "--tenant", tenant.id, "--signed", "--option", option)
    assert made.exit_code == 0, made.stderr
    key, secret = made.stdout.split()
    project = Project(api, tenant, await tenant.device(code=CODE), key, secret)
    await until_known(project, known_by)
    return project


def nats_url(api: Api) -> str:
    url = api.bus.nc.connected_url
    assert url is not None
    return str(url.geturl())


async def audited(api: Api) -> list[ConfigurationChanged]:
    stored = await api.bus.read_from("AUDIT", "kurir.aud.>", 1, 1000)
    facts = [decode_audit(one.data) for one in stored]
    return [fact for fact in facts if isinstance(fact, ConfigurationChanged)]


async def audited_uses(api: Api) -> list[str]:
    return [fact.target for fact in await audited(api) if fact.what == "message.form_not_signed"]


async def key_record(project: Project) -> ApiKey:
    keys = Registry(project.api.bus, "keys", ApiKey)
    await keys.start()
    await keys.stop()
    return next(key for _, key in keys.items() if key.hint == project.key[-4:])
