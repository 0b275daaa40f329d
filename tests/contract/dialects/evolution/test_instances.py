"""Instances: made, shown, connected, ended."""

import base64

import pytest

from tests.contract.dialects.evolution.conftest import (
    INSTANCE,
    NAME,
    PUBLIC_URL,
    Evolution,
    messages_of,
    stranger_of,
)
from tests.support.printed_examples import assert_as_printed, example

CREATE = "POST /instance/create"


@pytest.mark.shows(NAME, CREATE, "apikey", "Content-Type", "instanceName", "qrcode", "token", "answer.qrcode.base64")
async def test_an_instance_is_made_with_its_qr_code_as_printed(evolution: Evolution) -> None:
    printed = example(NAME, "create_instance")
    answer = await printed.sent_by(evolution.gateway.api.http, {"apikey": evolution.key})
    assert answer.status_code == printed.status, answer.text
    varying = ("instance.instanceId", "qrcode.code", "qrcode.base64")
    assert_as_printed(answer.json(), printed.body, varying=varying)
    kind, _, data = answer.json()["qrcode"]["base64"].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data).startswith(b"\x89PNG")
    # The token is a key of the instance alone.
    own = Evolution(evolution.gateway, evolution.tenant, "CLIENT_ID_SECURE_PHRASE")
    state = await own.get(f"/instance/connectionState/{INSTANCE}")
    assert state.status_code == 200, state.text
    assert state.json()["instance"]["state"] == "connecting"
    assert (await own.post("/instance/create", {"instanceName": "another"})).status_code == 403


@pytest.mark.shows(
    NAME, CREATE, "webhook", "events", "webhook_by_events", "webhook_base64", "groups_ignore", "hash.apikey"
)
async def test_what_is_given_at_creation_is_found_again(evolution: Evolution) -> None:
    made = await evolution.created(
        webhook="https://example.com/hook",
        webhook_by_events=True,
        webhook_base64=True,
        events=["MESSAGES_UPSERT", "LABELS_EDIT"],
        reject_call=True,
        msg_call="later",
        groups_ignore=False,
        proxy={"host": "proxy.example.com", "port": "8080", "protocol": "http", "username": "u", "password": "p:/w"},
        websocket_enabled=True,
        websocket_events=["QRCODE_UPDATED"],
    )
    assert len(made["hash"]["apikey"]) == 36
    assert made["hash"]["apikey"].isupper()
    assert "qrcode" not in made
    webhook = (await evolution.get(f"/webhook/find/{INSTANCE}")).json()
    assert webhook == {
        "enabled": True,
        "url": "https://example.com/hook",
        "events": ["MESSAGES_UPSERT", "LABELS_EDIT"],
        "webhook_by_events": True,
        "webhook_base64": True,
    }
    settings = (await evolution.get(f"/settings/find/{INSTANCE}")).json()
    assert settings == made["settings"]
    assert (settings["reject_call"], settings["msg_call"], settings["groups_ignore"]) == (True, "later", False)
    proxy = (await evolution.get(f"/proxy/find/{INSTANCE}")).json()
    assert (proxy["enabled"], proxy["proxy"]["host"], proxy["proxy"]["password"]) == (True, "proxy.example.com", "")
    socket = (await evolution.get(f"/websocket/find/{INSTANCE}")).json()
    assert socket == {"enabled": True, "events": ["QRCODE_UPDATED"]} == made["websocket"]


@pytest.mark.shows(NAME, CREATE, "v2 body", "v2 webhook", "v2 answer.hash")
async def test_a_v2_body_is_answered_in_v2(evolution: Evolution) -> None:
    made = await evolution.created(
        integration="WHATSAPP-BAILEYS",
        qrcode=False,
        rejectCall=True,
        webhook={
            "url": "https://example.com/hook",
            "byEvents": True,
            "base64": False,
            "events": ["MESSAGES_UPSERT"],
            "headers": {"X-Mine": "1"},
        },
    )
    assert isinstance(made["hash"], str)
    assert made["instance"]["status"] == "close"
    assert made["webhook"]["webhookUrl"] == "https://example.com/hook"
    assert made["settings"]["rejectCall"] is True
    assert made["settings"]["groupsIgnore"] is False
    own = Evolution(evolution.gateway, evolution.tenant, made["hash"])  # an instance's key speaks its version
    (fetched,) = (await own.get("/instance/fetchInstances")).json()
    assert (fetched["name"], fetched["connectionStatus"], fetched["ownerJid"]) == (INSTANCE, "close", None)
    assert (await own.get(f"/webhook/find/{INSTANCE}")).json()["webhookByEvents"] is True


@pytest.mark.shows(NAME, CREATE, "error 403", "error 400")
async def test_names_and_tokens_are_taken_once_and_nothing_stays_of_a_failure(evolution: Evolution) -> None:
    await evolution.created(token="a-token-of-its-own")
    again = await evolution.post("/instance/create", {"instanceName": INSTANCE})
    assert again.status_code == 403
    assert again.json()["error"] == "Forbidden"
    assert messages_of(again) == [f'This name "{INSTANCE}" is already in use.']
    for fields, sentence in (
        ({"token": "a-token-of-its-own"}, "Token already exists"),
        ({"webhook": "ftp://example.com"}, 'Invalid "url" property'),
        ({"webhook": "http://10.0.0.1/hook"}, 'Invalid "url" property'),
        ({"token": "short"}, "16 to 512"),
        ({"proxy": {"host": "127.0.0.1", "port": 1}}, "not"),
        ({"qrcode": True, "number": "12"}, "number"),
    ):
        refused = await evolution.post("/instance/create", {"instanceName": "second", **fields})
        assert refused.status_code == 400, (fields, refused.text)
        assert sentence in str(messages_of(refused)), fields
        assert (await evolution.get("/instance/connectionState/second")).status_code == 404
    rabbit = await evolution.post("/instance/create", {"instanceName": "second", "rabbitmq_enabled": True})
    assert rabbit.status_code == 501
    assert (await evolution.get("/instance/connectionState/second")).status_code == 404


@pytest.mark.shows(NAME, "GET /instance/connect/{instance}", "number", "answer.pairingCode", "answer.base64")
@pytest.mark.shows(NAME, "GET /instance/connectionState/{instance}", "answer.instance.state")
async def test_an_instance_is_connected_by_qr_or_pairing_code(evolution: Evolution) -> None:
    made = await evolution.created()
    device = made["instance"]["instanceId"]
    assert (await evolution.get(f"/instance/connectionState/{INSTANCE}")).json() == {
        "instance": {"instanceName": INSTANCE, "state": "close"}
    }
    shown = (await evolution.get(f"/instance/connect/{INSTANCE}")).json()
    assert list(shown) == ["pairingCode", "code", "base64", "count"]
    assert shown["pairingCode"] is None
    again = (await evolution.get(f"/instance/connect/{INSTANCE}")).json()
    assert again["code"] == shown["code"]  # the code that somebody may be about to scan stays
    typed = (await evolution.get(f"/instance/connect/{INSTANCE}", params={"number": "628111222333"})).json()
    assert len(typed["pairingCode"].replace("-", "")) == 8
    await evolution.gateway.connect(evolution.tenant, device)
    assert (await evolution.get(f"/instance/connect/{INSTANCE}")).json() == {
        "instance": {"instanceName": INSTANCE, "state": "open"}
    }


@pytest.mark.shows(NAME, "GET /instance/fetchInstances", "instanceName", "instanceId", "number", "v2 answer")
async def test_instances_are_listed_one_object_for_a_name_and_a_list_otherwise(evolution: Evolution) -> None:
    device = await evolution.connected(token="the-key-of-this-instance")
    await evolution.created("second")
    everything = (await evolution.get("/instance/fetchInstances")).json()
    assert [one["instance"]["instanceName"] for one in everything] == [INSTANCE, "second"]
    assert everything[1]["instance"]["status"] == "close"
    assert "owner" not in everything[1]["instance"]
    named = (await evolution.get("/instance/fetchInstances", params={"instanceName": INSTANCE})).json()
    assert (named["instance"]["owner"], named["instance"]["status"]) == ("628111222333@s.whatsapp.net", "open")
    assert named["instance"]["serverUrl"] == PUBLIC_URL
    for query in ({"instanceId": device}, {"number": "628111222333"}):
        (found,) = (await evolution.get("/instance/fetchInstances", params=query)).json()
        assert found["instance"]["instanceName"] == INSTANCE
    own = Evolution(evolution.gateway, evolution.tenant, "the-key-of-this-instance")
    (only,) = (await own.get("/instance/fetchInstances", params={"instanceName": INSTANCE})).json()
    assert only["instance"]["instanceId"] == device
    v2 = (await evolution.get("/instance/fetchInstances", headers={"Accept-Version": "2"})).json()
    assert [(one["name"], one["connectionStatus"], one["number"]) for one in v2] == [
        (INSTANCE, "open", "628111222333"),
        ("second", "close", None),
    ]
    unknown = await evolution.get("/instance/fetchInstances", params={"instanceName": "nobody"})
    assert (unknown.status_code, messages_of(unknown)) == (404, ['The "nobody" instance does not exist'])


@pytest.mark.shows(NAME, "PUT /instance/restart/{instance}")
@pytest.mark.shows(NAME, "POST /instance/restart/{instance}")
@pytest.mark.shows(NAME, "DELETE /instance/logout/{instance}", "error 400")
@pytest.mark.shows(NAME, "DELETE /instance/delete/{instance}")
async def test_an_instance_is_restarted_logged_out_and_deleted(evolution: Evolution) -> None:
    made = await evolution.created(token="the-key-of-this-instance", webhook="https://example.com/hook")
    offline = await evolution.delete(f"/instance/logout/{INSTANCE}")
    assert (offline.status_code, messages_of(offline)) == (400, [f'The "{INSTANCE}" instance is not connected'])
    await evolution.gateway.connect(evolution.tenant, made["instance"]["instanceId"])
    for method in ("PUT", "POST"):
        restarted = await evolution.request(method, f"/instance/restart/{INSTANCE}")
        assert restarted.json() == {"instance": {"instanceName": INSTANCE, "state": "open"}}, restarted.text
    ended = await evolution.delete(f"/instance/logout/{INSTANCE}")
    assert ended.json() == {"status": "SUCCESS", "error": False, "response": {"message": "Instance logged out"}}
    await evolution.until_state(INSTANCE, "close")
    own = Evolution(evolution.gateway, evolution.tenant, "the-key-of-this-instance")
    gone = await own.delete(f"/instance/delete/{INSTANCE}")
    assert gone.json() == {"status": "SUCCESS", "error": False, "response": {"message": "Instance deleted"}}
    assert (await evolution.get(f"/instance/connectionState/{INSTANCE}")).status_code == 404
    assert (await own.get("/instance/fetchInstances")).status_code == 401
    assert (await evolution.tenant.get("/webhooks")).json() == []
    await evolution.created(token="the-key-of-this-instance")  # name and token are free again


@pytest.mark.shows(NAME, "POST /instance/setPresence/{instance}", "presence")
@pytest.mark.shows(NAME, "PUT /instance/refreshToken", "oldToken", "error 400")
async def test_presence_is_shown_and_there_are_no_tokens_to_refresh(evolution: Evolution) -> None:
    await evolution.connected()
    shown = await evolution.post(f"/instance/setPresence/{INSTANCE}", {"presence": "available"})
    assert (shown.status_code, shown.json()) == (201, {"presence": "available"})
    wrong = await evolution.post(f"/instance/setPresence/{INSTANCE}", {"presence": "asleep"})
    assert "presence is not one of enum values" in messages_of(wrong)[0][0]
    nowhere = await evolution.post(f"/instance/setPresence/{INSTANCE}", {"presence": "composing"})
    assert nowhere.status_code == 501
    assert messages_of(await evolution.put("/instance/refreshToken", {})) == [['instance requires property "oldToken"']]
    assert (await evolution.put("/instance/refreshToken", {"oldToken": "x"})).status_code == 400


async def test_another_tenants_instance_is_not_there_and_its_name_is_free(evolution: Evolution) -> None:
    await evolution.created()
    stranger = await stranger_of(evolution)
    assert (await stranger.get("/instance/fetchInstances")).json() == []
    assert (await stranger.get("/instance/fetchInstances", params={"instanceName": INSTANCE})).status_code == 404
    await stranger.created()
    assert len((await evolution.get("/instance/fetchInstances")).json()) == 1
