"""The account's own profile, its privacy, whom it blocks, and how its chats stand."""

import base64
from typing import Any

import pytest

from kurir.session_node.engines.neonize.engine import NeonizeEngine
from kurir.session_node.engines.sandbox.client import SandboxEngine
from kurir.session_node.engines.sandbox.store import KeptAccount
from tests.contract.dialects.evolution.conftest import ANI, INSTANCE, NAME, NOBODY_THERE, Evolution, messages_of
from tests.support.conditions import until
from tests.support.pictures import a_picture

ME = "628111222333"
FRIEND = f"{ANI}000"
SETTINGS = {
    "readreceipts": "none",
    "profile": "contacts",
    "status": "contact_blacklist",
    "online": "match_last_seen",
    "last": "none",
    "groupadd": "contacts",
}


@pytest.mark.shows(NAME, "POST /chat/updateProfileName/{instance}", "name", "answer.update")
@pytest.mark.shows(NAME, "POST /chat/updateProfileStatus/{instance}", "status", "answer.update")
async def test_the_account_is_named_and_says_something_of_itself(evolution: Evolution) -> None:
    await evolution.connected()
    named = await evolution.post(f"/chat/updateProfileName/{INSTANCE}", {"name": "Toko Ayu"})
    assert (named.status_code, named.json()) == (200, {"update": "success"})
    told = await evolution.post(f"/chat/updateProfileStatus/{INSTANCE}", {"status": "Open from nine"})
    assert (told.status_code, told.json()) == (200, {"update": "success"})
    profile = await evolution.post(f"/chat/fetchProfile/{INSTANCE}", {"number": ME})
    assert profile.json()["status"] == "Open from nine"
    await evolution.put(f"/instance/restart/{INSTANCE}")

    async def has_the_name() -> bool:
        (shown,) = (await evolution.get("/instance/fetchInstances", headers={"Accept-Version": "2"})).json()
        return bool(shown["profileName"] == "Toko Ayu")

    await until("the connection has the name", has_the_name)
    for path, body, says in (
        ("updateProfileName", {}, 'instance requires property "name"'),
        ("updateProfileName", {"name": "x" * 26}, "name does not meet maximum length of 25"),
        ("updateProfileStatus", {"status": 5}, "status is not of a type(s) string"),
    ):
        wrong = await evolution.post(f"/chat/{path}/{INSTANCE}", body)
        assert (wrong.status_code, messages_of(wrong)) == (400, [[says]])


@pytest.mark.shows(NAME, "PUT /chat/updateProfilePicture/{instance}", "picture", "answer.update")
@pytest.mark.shows(NAME, "DELETE /chat/removeProfilePicture/{instance}", "answer.update")
async def test_the_account_gets_a_picture_and_loses_it(evolution: Evolution) -> None:
    await evolution.connected()

    async def shown() -> Any:
        answer = await evolution.post(f"/chat/fetchProfilePictureUrl/{INSTANCE}", {"number": ME})
        return answer.json()["profilePictureUrl"]

    before = await shown()
    picture = base64.b64encode(a_picture()).decode()
    changed = await evolution.put(f"/chat/updateProfilePicture/{INSTANCE}", {"picture": picture})
    assert (changed.status_code, changed.json()) == (200, {"update": "success"})
    assert await shown() not in (before, None)
    removed = await evolution.delete(f"/chat/removeProfilePicture/{INSTANCE}")
    assert (removed.status_code, removed.json()) == (200, {"update": "success"})
    assert await shown() is None
    for cut_off in ("no picture!", picture[:-1]):
        wrong = await evolution.put(f"/chat/updateProfilePicture/{INSTANCE}", {"picture": cut_off})
        assert messages_of(wrong) == [['"picture" must be a url or a base64']]


@pytest.mark.shows(NAME, "DELETE /chat/removeProfilePicture/{instance}", "error 501")
@pytest.mark.shows(NAME, "PUT /chat/archiveChat/{instance}", "error 501")
@pytest.mark.shows(NAME, "PUT /chat/markChatUnread/{instance}", "error 501")
@pytest.mark.shows(NAME, "GET /label/findLabels/{instance}", "error 501")
@pytest.mark.shows(NAME, "PUT /label/handleLabel/{instance}", "error 501")
async def test_what_the_library_of_a_real_device_cannot_do_is_told_as_lacking(
    evolution: Evolution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SandboxEngine, "capabilities", NeonizeEngine.capabilities)
    await evolution.connected()
    label = {"number": FRIEND, "labelId": "1", "action": "add"}
    for method, path, body, lacks in (
        ("DELETE", "chat/removeProfilePicture", None, "profile.remove_picture"),
        ("PUT", "chat/archiveChat", {"chat": FRIEND, "archive": True}, "archive"),
        ("PUT", "chat/markChatUnread", {"chat": FRIEND}, "archive"),
        ("GET", "label/findLabels", None, "labels"),
        ("PUT", "label/handleLabel", label, "labels"),
    ):
        refused = await evolution.request(method, f"/{path}/{INSTANCE}", json=body)
        assert refused.status_code == 501, path
        assert messages_of(refused) == [f"Not supported by this gateway's WhatsApp engine: {lacks}"]


@pytest.mark.shows(NAME, "PUT /chat/archiveChat/{instance}", "lastMessage", "chat", "archive", "answer.archived")
@pytest.mark.shows(NAME, "PUT /chat/markChatUnread/{instance}", "chat", "answer.markedChatUnread")
async def test_chats_are_archived_taken_out_again_and_marked_unread(evolution: Evolution) -> None:
    device = await evolution.connected()
    jid = f"{FRIEND}@s.whatsapp.net"
    last = {"key": {"remoteJid": jid, "fromMe": False, "id": "3A01"}, "messageTimestamp": 1717689097}

    def kept() -> KeptAccount:
        return evolution.gateway.engine.store.account(evolution.tenant.id, device)

    for body, archived in (
        ({"lastMessage": last, "archive": True}, (jid,)),
        ({"chat": FRIEND, "archive": False}, ()),
    ):
        answer = await evolution.put(f"/chat/archiveChat/{INSTANCE}", body)
        assert (answer.status_code, answer.json()["archived"]) == (201, True), answer.text
        assert kept().archived == archived
    answer = await evolution.put(f"/chat/markChatUnread/{INSTANCE}", {"chat": jid})
    assert (answer.status_code, answer.json()) == (201, {"chatId": jid, "markedChatUnread": True})
    assert kept().unread == (jid,)
    wrong = await evolution.put(f"/chat/archiveChat/{INSTANCE}", {"chat": FRIEND})
    assert messages_of(wrong) == [['instance requires property "archive"']]


@pytest.mark.shows(NAME, "GET /label/findLabels/{instance}", "answer.id", "answer.name", "answer.color")
@pytest.mark.shows(NAME, "PUT /label/handleLabel/{instance}", "number", "labelId", "action", "answer.add", "error 404")
async def test_labels_are_found_given_and_taken_off(evolution: Evolution) -> None:
    device = await evolution.connected()
    first = (await evolution.get(f"/label/findLabels/{INSTANCE}")).json()[0]
    assert list(first) == ["color", "name", "id", "predefinedId"]
    jid = f"{FRIEND}@s.whatsapp.net"
    for action, chats in (("add", [jid]), ("remove", [])):
        body = {"number": FRIEND, "labelId": first["id"], "action": action}
        answer = await evolution.put(f"/label/handleLabel/{INSTANCE}", body)
        assert (answer.status_code, answer.json()) == (200, {"numberJid": jid, "labelId": first["id"], action: True})
        (label, *_) = (await evolution.tenant.get(f"/devices/{device}/labels")).json()
        assert label["chats"] == chats
    nobody = {"number": NOBODY_THERE, "labelId": first["id"], "action": "add"}
    refused = await evolution.put(f"/label/handleLabel/{INSTANCE}", nobody)
    assert (refused.status_code, messages_of(refused)) == (404, ["Number is not on WhatsApp"])


async def test_groups_and_hidden_ids_get_labels_too(evolution: Evolution) -> None:
    device = await evolution.connected()
    group = (await evolution.post(f"/group/create/{INSTANCE}", {"subject": "Office", "participants": [FRIEND]})).json()
    for number in (group["id"], "120000000000001@lid"):
        body = {"number": number, "labelId": "1", "action": "add"}
        answer = await evolution.put(f"/label/handleLabel/{INSTANCE}", body)
        assert (answer.status_code, answer.json()) == (200, {"numberJid": number, "labelId": "1", "add": True})
    (label, *_) = (await evolution.tenant.get(f"/devices/{device}/labels")).json()
    assert set(label["chats"]) == {group["id"], "120000000000001@lid"}


@pytest.mark.shows(NAME, "GET /chat/fetchPrivacySettings/{instance}", *(f"answer.{name}" for name in SETTINGS))
@pytest.mark.shows(
    NAME, "PUT /chat/updatePrivacySettings/{instance}", "privacySettings", *(f"v2 {name}" for name in SETTINGS)
)
async def test_privacy_is_set_in_both_versions_and_found(evolution: Evolution) -> None:
    await evolution.connected()
    at_first = (await evolution.get(f"/chat/fetchPrivacySettings/{INSTANCE}")).json()
    assert at_first == dict.fromkeys(SETTINGS, "all")
    for body, holds in (({"privacySettings": SETTINGS}, SETTINGS), (at_first, at_first)):
        changed = await evolution.put(f"/chat/updatePrivacySettings/{INSTANCE}", body)
        assert (changed.status_code, changed.json()) == (201, {"update": "success", "data": holds})
        assert (await evolution.get(f"/chat/fetchPrivacySettings/{INSTANCE}")).json() == holds
    wrong = await evolution.put(
        f"/chat/updatePrivacySettings/{INSTANCE}", {"privacySettings": SETTINGS | {"last": "x"}}
    )
    assert "privacySettings.last is not one of enum values" in messages_of(wrong)[0][0]
    missing = await evolution.put(f"/chat/updatePrivacySettings/{INSTANCE}", {})
    assert len(messages_of(missing)[0]) == len(SETTINGS)


@pytest.mark.shows(NAME, "PUT /chat/updateBlockStatus/{instance}", "number", "status", "answer.block", "error 400")
async def test_people_are_blocked_and_let_in_again(evolution: Evolution) -> None:
    device = await evolution.connected()
    for status, blocked in (("block", [FRIEND]), ("unblock", [])):
        changed = await evolution.put(f"/chat/updateBlockStatus/{INSTANCE}", {"number": FRIEND, "status": status})
        assert (changed.status_code, changed.json()) == (201, {"block": "success"})
        listed = (await evolution.tenant.get(f"/devices/{device}/blocked")).json()
        assert [one["phoneNumber"] for one in listed] == blocked
    nobody = await evolution.put(f"/chat/updateBlockStatus/{INSTANCE}", {"number": NOBODY_THERE, "status": "block"})
    (found,) = messages_of(nobody)
    assert (nobody.status_code, found["exists"], found["number"]) == (400, False, NOBODY_THERE)
    group = {"number": "120363025550122@g.us", "status": "block"}
    (found,) = messages_of(await evolution.put(f"/chat/updateBlockStatus/{INSTANCE}", group))
    assert (found["exists"], found["number"]) == (False, group["number"])
    wrong = await evolution.put(f"/chat/updateBlockStatus/{INSTANCE}", {"number": FRIEND, "status": "stop"})
    assert messages_of(wrong) == [["status is not one of enum values: block,unblock"]]
