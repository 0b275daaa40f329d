"""Settings, the webhook and the other outlets; keys, foreign instances and unknown paths."""

import msgspec
import pytest

from kurir.api.legacy.evolution.routes import ROUTES
from kurir.contracts.content import Text
from kurir.contracts.records import DialectOptions, Endpoint
from kurir.runtime import keyvalue
from tests.contract.dialects.evolution.conftest import INSTANCE, NAME, Evolution, key_with, messages_of, stranger_of
from tests.support.conditions import until

SETTINGS = {
    "reject_call": True,
    "msg_call": "later",
    "groups_ignore": True,
    "always_online": True,
    "read_messages": True,
    "read_status": True,
    "sync_full_history": True,
}


@pytest.mark.shows(NAME, "POST /settings/set/{instance}", *SETTINGS, "v2 rejectCall")
@pytest.mark.shows(NAME, "GET /settings/find/{instance}")
async def test_settings_are_kept_and_groups_are_kept_from_the_webhook(evolution: Evolution) -> None:
    await evolution.created(webhook="https://example.com/hook", groups_ignore=False)
    (webhook,) = (await evolution.tenant.get("/webhooks")).json()
    assert webhook["filter"]["groups"] is None
    answer = await evolution.post(f"/settings/set/{INSTANCE}", SETTINGS)
    assert (answer.status_code, answer.json()) == (
        201,
        {"settings": {"instanceName": INSTANCE, "settings": SETTINGS}},
    )
    assert (await evolution.get(f"/settings/find/{INSTANCE}")).json() == SETTINGS
    (webhook,) = (await evolution.tenant.get("/webhooks")).json()
    assert webhook["filter"]["groups"] is False
    v2 = await evolution.post(f"/settings/set/{INSTANCE}", {"rejectCall": False, "groupsIgnore": False})
    assert (v2.json()["rejectCall"], v2.json()["alwaysOnline"]) == (False, True)
    (webhook,) = (await evolution.tenant.get("/webhooks")).json()
    assert webhook["filter"]["groups"] is None
    wrong = await evolution.post(f"/settings/set/{INSTANCE}", {"reject_call": "perhaps"})
    assert messages_of(wrong) == [["reject_call is not of a type(s) boolean"]]


@pytest.mark.shows(NAME, "POST /settings/set/{instance}", "reject_call", "msg_call")
async def test_a_call_is_rejected_and_its_caller_is_sent_the_text(evolution: Evolution) -> None:
    caller = "628125550119"  # calls whoever writes to it
    device = await evolution.connected()
    await evolution.post(f"/settings/set/{INSTANCE}", {"reject_call": True, "msg_call": "Please write."})
    await evolution.post(f"/message/sendText/{INSTANCE}", {"number": caller, "text": "Halo"})

    async def is_written_to() -> bool:
        return len(await evolution.sent()) == 2

    await until("the caller is written to", is_written_to)
    message = (await evolution.sent())[1]
    assert (message.device, message.to, message.content) == (
        device,
        f"{caller}@s.whatsapp.net",
        Text(text="Please write."),
    )


@pytest.mark.shows(NAME, "POST /webhook/set/{instance}", "enabled", "url", "events", "webhook_by_events")
@pytest.mark.shows(NAME, "POST /webhook/set/{instance}", "webhook_base64", "v2 webhook", "v2 headers", "error 400")
@pytest.mark.shows(NAME, "GET /webhook/find/{instance}", "answer.enabled", "answer.events", "v2 answer")
async def test_the_webhook_is_set_found_changed_and_turned_off(evolution: Evolution) -> None:
    await evolution.created()
    nothing = {"enabled": False, "url": "", "events": [], "webhook_by_events": False, "webhook_base64": False}
    assert (await evolution.get(f"/webhook/find/{INSTANCE}")).json() == nothing
    assert (await evolution.get(f"/webhook/find/{INSTANCE}", headers={"Accept-Version": "v2"})).json() is None
    wanted = {
        "enabled": True,
        "url": "https://example.com/hook",
        "events": ["MESSAGES_UPSERT", "CONNECTION_UPDATE"],
        "webhook_by_events": False,
        "webhook_base64": True,
    }
    answer = await evolution.post(f"/webhook/set/{INSTANCE}", wanted)
    assert answer.status_code == 201, answer.text
    assert answer.json() == {"webhook": {"instanceName": INSTANCE, "webhook": wanted}}
    assert (await evolution.get(f"/webhook/find/{INSTANCE}")).json() == wanted
    v2 = {
        "webhook": {
            "enabled": True,
            "url": "https://example.com/other",
            "headers": {"X-Mine": "1"},
            "byEvents": True,
            "base64": False,
            "events": [],
        }
    }
    changed = await evolution.post(f"/webhook/set/{INSTANCE}", v2)
    assert (changed.json()["url"], changed.json()["webhookByEvents"]) == ("https://example.com/other", True)
    (endpoint,) = (await evolution.tenant.get("/webhooks")).json()
    assert (endpoint["payload"], endpoint["events"], endpoint["headers"]) == ("evolution", [], {"X-Mine": "***"})
    off = await evolution.post(f"/webhook/set/{INSTANCE}", {"enabled": False, "url": "https://example.com/other"})
    assert off.json()["webhook"]["webhook"]["enabled"] is False
    for url in ("nowhere", "", "http://127.0.0.1/hook"):
        refused = await evolution.post(f"/webhook/set/{INSTANCE}", {"enabled": True, "url": url})
        assert refused.status_code == 400
        assert messages_of(refused)[0] == 'Invalid "url" property'
    unknown = await evolution.post(f"/webhook/set/{INSTANCE}", {"url": "https://example.com", "events": ["X"]})
    assert "events[0] is not one of enum values" in messages_of(unknown)[0][0]


@pytest.mark.shows(NAME, "POST /websocket/set/{instance}", "enabled", "events")
@pytest.mark.shows(NAME, "GET /websocket/find/{instance}")
@pytest.mark.shows(NAME, "POST /rabbitmq/set/{instance}", "enabled", "error 501")
@pytest.mark.shows(NAME, "GET /rabbitmq/find/{instance}")
@pytest.mark.shows(NAME, "POST /sqs/set/{instance}", "enabled", "error 501")
@pytest.mark.shows(NAME, "GET /sqs/find/{instance}")
@pytest.mark.shows(NAME, "POST /proxy/set/{instance}", "enabled", "proxy", "v2 host", "error 400")
@pytest.mark.shows(NAME, "GET /proxy/find/{instance}")
async def test_outlets_and_the_proxy_are_set_and_found(evolution: Evolution) -> None:
    await evolution.created()
    socket = {"enabled": True, "events": ["MESSAGES_UPSERT"]}
    answer = await evolution.post(f"/websocket/set/{INSTANCE}", socket)
    assert (answer.status_code, answer.json()) == (
        201,
        {"websocket": {"instanceName": INSTANCE, "websocket": socket}},
    )
    assert (await evolution.get(f"/websocket/find/{INSTANCE}")).json() == socket
    for name in ("rabbitmq", "sqs"):
        assert (await evolution.post(f"/{name}/set/{INSTANCE}", {"enabled": True})).status_code == 501
        assert (await evolution.post(f"/{name}/set/{INSTANCE}", {"enabled": False})).status_code == 201
        assert (await evolution.get(f"/{name}/find/{INSTANCE}")).json() == {"enabled": False, "events": []}
    v1 = {"enabled": True, "proxy": {"host": "p.example.com", "port": "8080", "protocol": "http"}}
    proxied = await evolution.post(f"/proxy/set/{INSTANCE}", v1)
    assert proxied.status_code == 201, proxied.text
    v2 = {"enabled": True, "host": "q.example.com", "port": "1080", "protocol": "socks5", "username": "u"}
    assert (await evolution.post(f"/proxy/set/{INSTANCE}", v2)).status_code == 201
    found = (await evolution.get(f"/proxy/find/{INSTANCE}")).json()
    assert found["proxy"] == {
        "host": "q.example.com",
        "port": "1080",
        "protocol": "socks5",
        "username": "u",
        "password": "",
    }
    assert (await evolution.post(f"/proxy/set/{INSTANCE}", {"enabled": False})).status_code == 201
    assert (await evolution.get(f"/proxy/find/{INSTANCE}")).json() == {"enabled": False, "proxy": None}
    inside = await evolution.post(f"/proxy/set/{INSTANCE}", {"host": "10.0.0.1", "port": 1})
    assert inside.status_code == 400


@pytest.mark.shows(NAME, "GET /", "apikey", "answer.version")
async def test_the_welcome_is_told_to_who_gives_an_apikey(evolution: Evolution) -> None:
    answer = await evolution.get("/")
    assert answer.json()["message"] == "Welcome to the Evolution API, it is working!"
    assert answer.json()["status"] == 200


@pytest.mark.shows(NAME, "GET /instance/connectionState/{instance}", "error 401", "error 404")
async def test_keys_and_paths_are_judged_in_its_words(evolution: Evolution) -> None:
    unauthorized = {"status": 401, "error": "Unauthorized", "response": {"message": "Unauthorized"}}
    for key in ("", "no-key-of-anybody-here"):
        answer = await Evolution(evolution.gateway, evolution.tenant, key).get("/instance/fetchInstances")
        assert (answer.status_code, answer.json()) == (401, unauthorized)
    bearer = await evolution.get(
        "/instance/fetchInstances", headers={"apikey": "", "Authorization": f"Bearer {evolution.key}"}
    )
    assert bearer.status_code == 200
    unknown = await evolution.get("/instance/connectionState/x")
    assert unknown.json() == {
        "status": 404,
        "error": "Not Found",
        "response": {"message": ['The "x" instance does not exist']},
    }
    for method, path in (("GET", "/instance/nowhere"), ("PATCH", "/message/sendText/x"), ("GET", "/chat/a/b/c")):
        answer = await evolution.request(method, path)
        assert answer.json() == {
            "status": 404,
            "error": "Not Found",
            "response": {"message": [f"Cannot {method} {path}"]},
        }


async def test_another_tenants_instance_is_not_there_at_any_path(evolution: Evolution) -> None:
    await evolution.created()
    stranger = await stranger_of(evolution)
    for template, methods in ROUTES.items():
        if "{instance" not in template:
            continue
        path = template.replace("{instance:str}", INSTANCE)
        for method in methods:
            answer = await stranger.request(method, path, json={} if method != "GET" else None)
            assert (answer.status_code, messages_of(answer)) == (
                404,
                [f'The "{INSTANCE}" instance does not exist'],
            ), (method, path)
    assert len((await evolution.get("/instance/fetchInstances")).json()) == 1


async def test_an_instances_key_sees_that_instance_alone(evolution: Evolution) -> None:
    await evolution.created(token="the-key-of-this-instance")
    await evolution.created("second")
    own = Evolution(evolution.gateway, evolution.tenant, "the-key-of-this-instance")
    assert (await own.get(f"/instance/connectionState/{INSTANCE}")).status_code == 200
    assert (await own.get("/instance/connectionState/second")).status_code == 404


async def test_a_key_is_repeated_to_those_alone_whose_key_says_so(evolution: Evolution) -> None:
    await evolution.created(webhook="https://example.com/hook")
    assert "apikey" not in (await evolution.get("/instance/fetchInstances")).json()[0]["instance"]
    shown = await key_with(evolution, DialectOptions(show_key=True))
    (fetched,) = (await shown.get("/instance/fetchInstances")).json()
    assert fetched["instance"]["apikey"] == shown.key
    assert await sealed_key(evolution) is None
    await shown.post(f"/webhook/set/{INSTANCE}", {"url": "https://example.com/hook"})
    sealed = await sealed_key(evolution)
    assert sealed is not None
    assert shown.key not in sealed


async def sealed_key(evolution: Evolution) -> str | None:
    (endpoint,) = (await evolution.tenant.get("/webhooks")).json()
    stored = await keyvalue.read(evolution.gateway.api.bus, "endpoints", f"{evolution.tenant.id}.{endpoint['id']}")
    assert stored is not None
    return msgspec.json.decode(stored.data, type=Endpoint).payload_options.sealed_key
