"""Webhooks as they are written for the webhook-dispatcher."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kurir.contracts import deliveries
from kurir.contracts.records import BodyHmac, Endpoint, EndpointState, Replay
from kurir.runtime import signing
from kurir.runtime.registry import Registry, key_of
from kurir.runtime.secrets import MasterKey
from tests.support.api_server import MASTER_KEY, Api, Client, running_api
from tests.support.certificates import a_certificate
from tests.support.conditions import until
from tests.support.nats_server import NatsServer

URL = "https://example.com/hook"


async def stored(api: Api, tenant: Client, webhook: str) -> Endpoint:
    entry = await Registry(api.bus, "endpoints", Endpoint).fetch(key_of(tenant.id, webhook))
    assert entry is not None
    return entry.value


def opened(endpoint: Endpoint) -> list[str]:
    key = MasterKey.parse(MASTER_KEY)
    return [key.open(secret.sealed, f"{endpoint.tenant}/{endpoint.id}") for secret in endpoint.secrets]


async def test_a_secret_is_made_shown_once_and_kept_sealed(api: Api, tenant: Client) -> None:
    made = (await tenant.post("/webhooks", json={"url": URL})).json()
    assert made["secret"].startswith("whsec_")
    assert made["events"] == ["message.received", "message.status", "device.status"]
    assert made["active"] is True
    endpoint = await stored(api, tenant, made["id"])
    assert opened(endpoint) == [made["secret"]]
    assert endpoint.signatures == ("standard", "device_gateway")
    for path in ("/webhooks", f"/webhooks/{made['id']}"):
        assert made["secret"] not in (await tenant.get(path)).text
    raw = await api.bus.last_by_subject("KV_endpoints", f"$KV.endpoints.{tenant.id}.{made['id']}")
    assert raw is not None
    assert made["secret"].encode() not in raw.data


async def test_both_secrets_sign_for_a_day_after_a_rotation(api: Api, tenant: Client) -> None:
    made = (await tenant.post("/webhooks", json={"url": URL})).json()
    rotated = (await tenant.post(f"/webhooks/{made['id']}/rotate-secret")).json()
    endpoint = await stored(api, tenant, made["id"])
    assert opened(endpoint) == [rotated["secret"], made["secret"]]
    assert endpoint.secrets[0].expires_at is None
    assert endpoint.secrets[1].expires_at == datetime.fromisoformat(rotated["previousValidUntil"])
    left = datetime.fromisoformat(rotated["previousValidUntil"]) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)
    for _ in range(6):
        await tenant.post(f"/webhooks/{made['id']}/rotate-secret")
    assert len((await stored(api, tenant, made["id"])).secrets) == 5
    await tenant.post(f"/webhooks/{made['id']}/rotate-secret", json={"overlapHours": 0})
    assert len((await stored(api, tenant, made["id"])).secrets) == 1, "a secret that leaked ends at once"


async def test_of_a_signing_key_only_the_public_half_is_ever_shown(api: Api, tenant: Client) -> None:
    answer = await tenant.post("/webhooks", json={"url": URL, "signatures": ["standard", "ed25519"]})
    made = answer.json()
    shared, private = opened(await stored(api, tenant, made["id"]))
    assert shared == made["secret"]
    assert signing.public_key_of(private) == made["publicKey"]
    assert private not in answer.text
    assert (await tenant.get(f"/webhooks/{made['id']}")).json()["publicKey"] == made["publicKey"]
    rotated = (await tenant.post(f"/webhooks/{made['id']}/rotate-secret")).json()
    assert rotated["publicKey"] not in (made["publicKey"], None)
    secrets = opened(await stored(api, tenant, made["id"]))
    assert len(secrets) == 4, "both of each kind sign for the overlap"
    own = signing.new_signing_key()
    rotated = (await tenant.post(f"/webhooks/{made['id']}/rotate-secret", json={"signingKey": own})).json()
    assert rotated["publicKey"] == signing.public_key_of(own)


async def test_a_signing_key_is_made_when_a_webhook_begins_to_need_one(api: Api, tenant: Client) -> None:
    made = (await tenant.post("/webhooks", json={"url": URL})).json()
    assert made["publicKey"] is None
    changed = await tenant.patch(f"/webhooks/{made['id']}", json={"signatures": ["ed25519"]})
    public = changed.json()["publicKey"]
    assert public.startswith("whpk_")
    again = await tenant.patch(f"/webhooks/{made['id']}", json={"signatures": ["ed25519", "standard"]})
    assert again.json()["publicKey"] == public, "what receivers know goes on"
    assert made["secret"] in opened(await stored(api, tenant, made["id"]))


async def test_values_of_headers_are_kept_sealed_and_never_shown(api: Api, tenant: Client) -> None:
    body = {"url": URL, "headers": {"Authorization": "Bearer classified", "X-A": "b"}}
    made = (await tenant.post("/webhooks", json=body)).json()
    assert made["headers"] == {"Authorization": "***", "X-A": "***"}
    endpoint = await stored(api, tenant, made["id"])
    assert "classified" not in str(endpoint.headers)

    async def values() -> dict[str, str]:
        known = await stored(api, tenant, made["id"])
        key = MasterKey.parse(MASTER_KEY)
        return {name: key.open(value, f"{known.tenant}/{known.id}") for name, value in known.headers.items()}

    assert await values() == body["headers"]
    await tenant.patch(f"/webhooks/{made['id']}", json={"headers": {"Authorization": "***", "X-C": "d"}})
    assert await values() == {"Authorization": "Bearer classified", "X-C": "d"}
    refused = await tenant.patch(f"/webhooks/{made['id']}", json={"headers": {"X-New": "***"}})
    assert (refused.status_code, refused.json()["field"]) == (400, "headers")


async def test_the_body_hmac_is_written_into_a_header_of_the_tenants_choosing(api: Api, tenant: Client) -> None:
    form = {"header": "X-Shop-Hmac", "prefix": ""}
    made = (await tenant.post("/webhooks", json={"url": URL, "signatures": ["body_hmac"], "bodyHmac": form})).json()
    assert made["bodyHmac"] == form
    assert (await stored(api, tenant, made["id"])).body_hmac == BodyHmac(header="X-Shop-Hmac", prefix="")
    taken = await tenant.patch(f"/webhooks/{made['id']}", json={"headers": {"x-shop-hmac": "mine"}})
    assert (taken.status_code, taken.json()["field"]) == (400, "headers")
    for header in ("webhook-signature", "Host", "a b", "X-Webhook-Event"):
        answer = await tenant.patch(f"/webhooks/{made['id']}", json={"bodyHmac": {"header": header}})
        assert (answer.status_code, answer.json()["field"]) == (400, "bodyHmac"), header


async def test_a_secret_of_ones_own_is_taken_and_signs_as_it_can(api: Api, tenant: Client) -> None:
    plain = (await tenant.post("/webhooks", json={"url": URL, "secret": "my old secret"})).json()
    assert (plain["secret"], plain["signatures"]) == ("my old secret", ["device_gateway"])
    refused = await tenant.post("/webhooks", json={"url": URL, "secret": "my old secret", "signatures": ["standard"]})
    assert (refused.status_code, refused.json()["field"]) == (400, "secret")
    good = "whsec_" + "A" * 43 + "="
    own = (await tenant.post("/webhooks", json={"url": URL, "secret": good})).json()
    assert (own["secret"], own["signatures"]) == (good, ["standard", "device_gateway"])


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({}, "VALIDATION_ERROR", "url"),
    ({"url": "ftp://example.com/x"}, "VALIDATION_ERROR", "url"),
    ({"url": "https://user:pass@example.com/"}, "VALIDATION_ERROR", "url"),
    ({"url": "https://[::1/"}, "VALIDATION_ERROR", "url"),
    ({"url": "https://127.0.0.1/x"}, "URL_NOT_ALLOWED", "url"),
    ({"url": "https://localhost/x"}, "URL_NOT_ALLOWED", "url"),
    ({"url": "https://2130706433/"}, "URL_NOT_ALLOWED", "url"),
    ({"url": "https://[::ffff:10.0.0.1]/"}, "URL_NOT_ALLOWED", "url"),
    ({"url": "https://169.254.169.254/latest/meta-data"}, "URL_NOT_ALLOWED", "url"),
    ({"url": "http://93.184.216.34/x"}, "URL_NOT_ALLOWED", "url"),
    ({"url": URL, "events": ["message.recieved"]}, "VALIDATION_ERROR", "events[0]"),
    ({"url": URL, "events": []}, "VALIDATION_ERROR", "events"),
    ({"url": URL, "headers": {"Host": "x"}}, "VALIDATION_ERROR", "headers"),
    ({"url": URL, "headers": {"webhook-id": "x"}}, "VALIDATION_ERROR", "headers"),
    ({"url": URL, "headers": {"X-A": "b\r\nX-C: d"}}, "VALIDATION_ERROR", "headers"),
    ({"url": URL, "headers": {"X-A": "b", "x-a": "c"}}, "VALIDATION_ERROR", "headers"),
    ({"url": URL, "headers": {"Proxy-Authorization": "x"}}, "VALIDATION_ERROR", "headers"),
    ({"url": URL, "headers": {"Transfer-Encoding": "chunked"}}, "VALIDATION_ERROR", "headers"),
    ({"url": URL, "secret": "whsk_" + "A" * 43 + "="}, "VALIDATION_ERROR", "secret"),
    ({"url": URL, "signingKey": "whsk_" + "A" * 43 + "="}, "VALIDATION_ERROR", "signingKey"),
    ({"url": URL, "signatures": ["ed25519"], "signingKey": "whsk_short"}, "VALIDATION_ERROR", "signingKey"),
    ({"url": URL, "bodyHmac": {"header": ""}}, "VALIDATION_ERROR", "bodyHmac.header"),
    ({"url": URL, "secret": "short"}, "VALIDATION_ERROR", "secret"),
    ({"url": URL, "maxInFlight": 0}, "VALIDATION_ERROR", "maxInFlight"),
    ({"url": URL, "headTimeout": 0}, "VALIDATION_ERROR", "headTimeout"),
    ({"url": URL, "maxPerSecond": 0}, "VALIDATION_ERROR", "maxPerSecond"),
    ({"url": URL, "retrySchedule": [5, -1]}, "VALIDATION_ERROR", "retrySchedule[1]"),
    ({"url": URL, "filter": {"direction": "up"}}, "VALIDATION_ERROR", "filter.direction"),
    ({"url": URL, "filter": {"chats": ["+62 811 1", "nobody"]}}, "VALIDATION_ERROR", "filter.chats[0]"),
]


async def test_a_name_in_other_letters_is_kept_in_its_ascii_form(tenant: Client) -> None:
    made = (await tenant.post("/webhooks", json={"url": "https://b\u00fccher.invalid/in"})).json()
    assert made["url"] == "https://xn--bcher-kva.invalid/in"
    changed = await tenant.patch(f"/webhooks/{made['id']}", json={"url": "https://b\u00fccher.invalid:8443/in"})
    assert changed.json()["url"] == "https://xn--bcher-kva.invalid:8443/in"


async def test_what_could_not_work_or_leads_inside_is_refused(tenant: Client) -> None:
    for body, code, field in REFUSED:
        answer = await tenant.post("/webhooks", json=body)
        told = (answer.status_code, answer.json()["code"], answer.json().get("field"))
        assert told == (400, code, field), (body, answer.text)
    assert (await tenant.get("/webhooks")).json() == []


async def test_the_operator_can_allow_addresses_inside(nats_server: NatsServer) -> None:
    async with running_api(nats_server.url, egress_allow="127.0.0.1/32:8099, 10.0.0.0/8") as api:
        tenant = await api.tenant()
        assert (await tenant.post("/webhooks", json={"url": "http://127.0.0.1:8099/hook"})).status_code == 201
        assert (await tenant.post("/webhooks", json={"url": "http://127.0.0.1:8098/hook"})).status_code == 400


async def test_changes_are_kept_and_patterns_accepted(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    body = {"url": URL, "events": ["send.message.*", "message.received"], "deviceId": device, "headers": {"X-A": "b"}}
    made = (await tenant.post("/webhooks", json=body)).json()
    assert (made["events"], made["deviceId"], made["headers"]) == (body["events"], device, {"X-A": "***"})
    changed = await tenant.patch(f"/webhooks/{made['id']}", json={"active": False, "deviceId": None, "events": ["*"]})
    assert (changed.json()["active"], changed.json()["deviceId"], changed.json()["events"]) == (False, None, ["*"])
    endpoint = await stored(api, tenant, made["id"])
    assert (endpoint.active, endpoint.device, endpoint.url) == (False, None, URL)
    assert (await tenant.delete(f"/webhooks/{made['id']}")).status_code == 204
    assert (await tenant.get(f"/webhooks/{made['id']}")).status_code == 404


async def test_what_is_sent_how_fast_and_how_often_again_is_the_tenants_choice(api: Api, tenant: Client) -> None:
    device = await tenant.device()
    wanted = {"deviceIds": [device], "chats": ["+62 811-1222-333", "120363@g.us"], "direction": "in", "fromMe": False}
    body = {"url": URL, "filter": wanted, "maxPerSecond": 20, "retrySchedule": [1, 60]}
    made = (await tenant.post("/webhooks", json=body)).json()
    assert made["filter"] == {**wanted, "chats": ["628111222333@s.whatsapp.net", "120363@g.us"], "groups": None}
    assert (made["maxPerSecond"], made["retrySchedule"]) == (20, [1, 60])
    endpoint = await stored(api, tenant, made["id"])
    assert endpoint.filter.devices == (device,)
    assert endpoint.retry_delays_s == (1, 60)
    of_others = {"filter": {"deviceIds": [device, await (await api.tenant()).device()]}}
    refused = await tenant.patch(f"/webhooks/{made['id']}", json=of_others)
    assert (refused.status_code, refused.json()["field"]) == (404, "filter.deviceIds[1]")
    cleared: dict[str, Any] = {"filter": {}, "maxPerSecond": None, "retrySchedule": None}
    changed = (await tenant.patch(f"/webhooks/{made['id']}", json=cleared)).json()
    assert changed["filter"] == {"deviceIds": [], "chats": [], "direction": None, "fromMe": None, "groups": None}
    assert (changed["maxPerSecond"], changed["retrySchedule"]) == (None, None)


async def test_the_moment_at_which_a_webhook_begins_or_ends_to_want_order_is_kept(api: Api, tenant: Client) -> None:
    made = (await tenant.post("/webhooks", json={"url": URL})).json()
    assert (made["inOrder"], made["headTimeout"]) == (False, 300)
    assert (await stored(api, tenant, made["id"])).order_changed_at is None
    before = datetime.now(UTC)
    changed = await tenant.patch(f"/webhooks/{made['id']}", json={"inOrder": True, "headTimeout": 60})
    assert (changed.json()["inOrder"], changed.json()["headTimeout"]) == (True, 60)
    began_at = (await stored(api, tenant, made["id"])).order_changed_at
    assert began_at is not None
    assert began_at >= before
    await tenant.patch(f"/webhooks/{made['id']}", json={"inOrder": True, "maxInFlight": 5})
    assert (await stored(api, tenant, made["id"])).order_changed_at == began_at
    own = (await tenant.post("/webhooks", json={"url": URL, "inOrder": True})).json()
    endpoint = await stored(api, tenant, own["id"])
    assert endpoint.order_changed_at == endpoint.created_at


async def test_a_replay_is_ordered_told_of_and_canceled(api: Api, tenant: Client) -> None:
    webhook = f"/webhooks/{(await tenant.post('/webhooks', json={'url': URL})).json()['id']}"
    body = {"since": "2026-11-19T08:30:00Z", "events": ["message.*"], "filter": {"direction": "in"}, "perSecond": 5}
    answer = await tenant.post(f"{webhook}/replays", json=body)
    made = answer.json()
    assert (answer.status_code, made["state"], made["replayed"]) == (202, "waiting", 0)
    (stored,) = await api.bus.read_from("DELIVERIES", f"kurir.replay.{tenant.id}.>", 1, 10)
    order = deliveries.decode_replay(stored.data)
    assert (order.id, order.events, order.filter.direction, order.per_second) == (made["id"], ("message.*",), "in", 5)
    assert (await tenant.get(f"{webhook}/replays/{made['id']}")).json() == made
    progress = Replay(
        id=order.id,
        tenant=order.tenant,
        endpoint=order.endpoint,
        state="running",
        made_at=order.made_at,
        at=datetime.now(UTC),
        replayed=7,
    )
    await Registry(api.bus, "replays", Replay).put(key_of(order.tenant, order.endpoint, order.id), progress)

    async def has_come_far() -> bool:
        return [one["replayed"] for one in (await tenant.get(f"{webhook}/replays")).json()] == [7]

    await until("its progress is shown", has_come_far)
    assert (await tenant.delete(f"{webhook}/replays/{made['id']}")).status_code == 204
    assert await api.bus.subjects("DELIVERIES", "kurir.replay.>") == {}, "whoever carries it out sees that it is gone"
    assert (await tenant.get(f"{webhook}/replays/rp_other")).status_code == 404


async def test_a_replay_that_could_not_work_is_refused_and_no_more_than_five_run_at_once(tenant: Client) -> None:
    webhook = f"/webhooks/{(await tenant.post('/webhooks', json={'url': URL})).json()['id']}"
    for body, field in (
        ({}, "since"),
        ({"dead": True, "eventId": "e1"}, "dead"),
        ({"dead": True, "until": "2026-11-19T08:30:00Z"}, "until"),
        ({"since": "2026-11-19T08:30:00Z", "until": "2026-11-19T08:00:00Z"}, "until"),
        ({"since": "2026-11-19T08:30:00"}, "since"),
        ({"dead": True, "perSecond": 501}, "perSecond"),
        ({"dead": True, "events": ["no.such"]}, "events[0]"),
        ({"dead": True, "filter": {"chats": ["nobody"]}}, "filter.chats[0]"),
    ):
        answer = await tenant.post(f"{webhook}/replays", json=body)
        assert (answer.status_code, answer.json().get("field")) == (400, field), (body, answer.text)
    for _ in range(5):
        assert (await tenant.post(f"{webhook}/replays", json={"dead": True})).status_code == 202
    assert (await tenant.post(f"{webhook}/replays", json={"dead": True})).json()["code"] == "LIMIT_REACHED"


async def test_one_that_was_disabled_for_failing_says_so_and_can_be_brought_back(api: Api, tenant: Client) -> None:
    made = (await tenant.post("/webhooks", json={"url": URL})).json()
    state = EndpointState(
        endpoint=made["id"],
        tenant=tenant.id,
        at=datetime.now(UTC),
        failing_since=datetime.now(UTC) - timedelta(days=5),
        disabled=True,
        reason="failing for five days",
        error="http_5xx",
        status=502,
    )
    await Registry(api.bus, "endpoint_state", EndpointState).put(key_of(tenant.id, made["id"]), state)

    async def is_off() -> bool:
        return (await tenant.get(f"/webhooks/{made['id']}")).json()["active"] is False

    await until("it is shown as off", is_off)
    shown = (await tenant.get(f"/webhooks/{made['id']}")).json()
    assert shown["disabledReason"] == "failing for five days"
    assert (shown["lastError"], shown["lastStatus"]) == ("http_5xx", 502)
    back = (await tenant.patch(f"/webhooks/{made['id']}", json={"active": True})).json()
    assert (back["active"], back["disabledReason"]) == (True, None)


async def test_a_client_certificate_is_kept_sealed_shown_by_its_name_and_taken_away(
    api: Api, tenant: Client, tmp_path: Path
) -> None:
    certificate, key = (file.read_text() for file in a_certificate(tmp_path))
    given = {"certificate": certificate, "privateKey": key}
    answer = await tenant.post("/webhooks", json={"url": URL, "clientCertificate": given})
    made = answer.json()
    assert made["clientCertificate"]["subject"] == "CN=receiver"
    assert key.splitlines()[1] not in answer.text
    kept = (await stored(api, tenant, made["id"])).client_certificate
    assert kept is not None
    assert MasterKey.parse(MASTER_KEY).open(kept.sealed_key, f"{tenant.id}/{made['id']}") == key
    for wrong in ({**given, "privateKey": certificate}, {**given, "certificate": "x"}):
        refused = await tenant.patch(f"/webhooks/{made['id']}", json={"clientCertificate": wrong})
        assert (refused.status_code, refused.json()["field"]) == (400, "clientCertificate")
    changed = await tenant.patch(f"/webhooks/{made['id']}", json={"active": True})
    assert changed.json()["clientCertificate"] == made["clientCertificate"], "what is not named stays"
    gone = await tenant.patch(f"/webhooks/{made['id']}", json={"clientCertificate": None})
    assert gone.json()["clientCertificate"] is None
