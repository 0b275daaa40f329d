"""Groups, numbers, presence, corrections, contacts, and messages found again."""

import base64
import json
from collections.abc import AsyncIterator

import pytest

from kurir.contracts.content import Edit, MessageKey, Revoke
from kurir.runtime.mongo import Mongo
from tests.contract.dialects.evolution.conftest import (
    ANI,
    BUDI,
    INSTANCE,
    NAME,
    NOBODY_THERE,
    PUBLIC_URL,
    Evolution,
    messages_of,
)
from tests.support.connected_devices import Gateway, running_gateway
from tests.support.mongo_server import MongoServer
from tests.support.nats_server import NatsServer
from tests.support.pictures import a_picture
from tests.support.printed_examples import file_of

NUMBER = "6281234567890"
FRIEND, OTHER = f"{ANI}000", f"{BUDI}000"


@pytest.fixture
async def gateway(nats_server: NatsServer, mongo_server: MongoServer) -> AsyncIterator[Gateway]:
    """With a history."""
    settings = {"default_engine": "sandbox", "public_url": PUBLIC_URL}
    async with running_gateway(nats_server.url, mongo_server.url, **settings) as running:
        yield running


@pytest.mark.shows(
    NAME, "POST /group/create/{instance}", "subject", "description", "participants", "promoteParticipants"
)
@pytest.mark.shows(NAME, "PUT /group/updateGroupSubject/{instance}", "groupJid", "subject")
@pytest.mark.shows(NAME, "PUT /group/updateGroupDescription/{instance}", "groupJid", "description")
@pytest.mark.shows(NAME, "GET /group/findGroupInfos/{instance}", "groupJid", "answer.participants")
@pytest.mark.shows(NAME, "GET /group/fetchAllGroups/{instance}", "getParticipants")
@pytest.mark.shows(NAME, "GET /group/participants/{instance}", "groupJid")
@pytest.mark.shows(NAME, "PUT /group/updateParticipant/{instance}", "action", "participants")
@pytest.mark.shows(NAME, "DELETE /group/leaveGroup/{instance}", "groupJid")
async def test_a_group_is_made_changed_and_left(evolution: Evolution) -> None:
    await evolution.connected()
    body = {"subject": "Office", "description": "All", "participants": [FRIEND, OTHER], "promoteParticipants": True}
    made = await evolution.post(f"/group/create/{INSTANCE}", body)
    assert made.status_code == 201, made.text
    group = made.json()
    assert (group["subject"], group["desc"], group["size"], group["announce"]) == ("Office", "All", 3, False)
    roles = {one["id"].partition("@")[0]: one["admin"] for one in group["participants"]}
    assert roles == {"628111222333": "superadmin", FRIEND: "admin", OTHER: "admin"}
    of_group = {"params": {"groupJid": group["id"]}}
    renamed = await evolution.put(f"/group/updateGroupSubject/{INSTANCE}", {"subject": "Shop"}, **of_group)
    assert (renamed.status_code, renamed.json()) == (201, {"update": "success"})
    described = await evolution.put(
        f"/group/updateGroupDescription/{INSTANCE}", {"groupJid": group["id"], "description": "New"}
    )
    assert described.status_code == 201
    shown = (await evolution.get(f"/group/findGroupInfos/{INSTANCE}", **of_group)).json()
    assert (shown["subject"], shown["desc"]) == ("Shop", "New")
    changed = await evolution.put(
        f"/group/updateParticipant/{INSTANCE}", {"action": "remove", "participants": [OTHER]}, **of_group
    )
    assert changed.json() == {"updateParticipants": [{"status": "200", "jid": f"{OTHER}@s.whatsapp.net"}]}
    members = (await evolution.get(f"/group/participants/{INSTANCE}", **of_group)).json()["participants"]
    assert {one["id"].partition("@")[0] for one in members} == {"628111222333", FRIEND}
    (head,) = (await evolution.get(f"/group/fetchAllGroups/{INSTANCE}", params={"getParticipants": "false"})).json()
    assert "participants" not in head
    (full,) = (await evolution.get(f"/group/fetchAllGroups/{INSTANCE}", params={"getParticipants": "true"})).json()
    assert len(full["participants"]) == 2
    unsaid = await evolution.get(f"/group/fetchAllGroups/{INSTANCE}")
    assert messages_of(unsaid) == [['instance requires property "getParticipants"']]
    left = await evolution.delete(f"/group/leaveGroup/{INSTANCE}", **of_group)
    assert left.json() == {"groupJid": group["id"], "leave": True}
    gone = await evolution.get(f"/group/findGroupInfos/{INSTANCE}", **of_group)
    assert (gone.status_code, gone.json()["error"]) == (404, "Not Found")


@pytest.mark.shows(NAME, "GET /group/inviteCode/{instance}", "groupJid", "answer.inviteUrl", "answer.inviteCode")
@pytest.mark.shows(NAME, "PUT /group/revokeInviteCode/{instance}", "groupJid")
@pytest.mark.shows(NAME, "POST /group/sendInvite/{instance}", "groupJid", "description", "numbers")
@pytest.mark.shows(NAME, "GET /group/acceptInviteCode/{instance}", "inviteCode")
@pytest.mark.shows(NAME, "PUT /group/updateSetting/{instance}", "groupJid", "action")
@pytest.mark.shows(NAME, "PUT /group/toggleEphemeral/{instance}", "groupJid", "expiration")
@pytest.mark.shows(NAME, "GET /group/inviteInfo/{instance}", "inviteCode", "answer.id", "answer.subject")
async def test_invitations_are_shown_renewed_sent_and_taken(evolution: Evolution) -> None:
    await evolution.connected()
    made = await evolution.post(f"/group/create/{INSTANCE}", {"subject": "Office", "participants": [FRIEND]})
    group = made.json()["id"]
    of_group = {"params": {"groupJid": group}}
    invite = (await evolution.get(f"/group/inviteCode/{INSTANCE}", **of_group)).json()
    assert invite["inviteUrl"] == f"https://chat.whatsapp.com/{invite['inviteCode']}"
    renewed = await evolution.put(f"/group/revokeInviteCode/{INSTANCE}", **of_group)
    assert (renewed.status_code, renewed.json()["revoked"]) == (201, True)
    assert renewed.json()["inviteCode"] != invite["inviteCode"]
    body = {"groupJid": group, "description": "Come in", "numbers": [OTHER]}
    told = await evolution.post(f"/group/sendInvite/{INSTANCE}", body)
    assert (told.status_code, told.json()["send"]) == (200, True)
    (command,) = await evolution.sent()
    assert renewed.json()["inviteCode"] in str(command.content)
    seen = await evolution.get(f"/group/inviteInfo/{INSTANCE}", params={"inviteCode": renewed.json()["inviteCode"]})
    assert (seen.status_code, seen.json()["id"], seen.json()["subject"]) == (200, group, "Office")
    nowhere = await evolution.get(f"/group/inviteInfo/{INSTANCE}", params={"inviteCode": "nowhere"})
    assert (nowhere.status_code, "leads nowhere" in messages_of(nowhere)[0][0]) == (400, True)
    assert messages_of(nowhere)[0][0].startswith("inviteCode: ")
    joined = await evolution.get(
        f"/group/acceptInviteCode/{INSTANCE}", params={"inviteCode": renewed.json()["inviteCode"]}
    )
    assert joined.status_code == 200, joined.text
    assert joined.json()["accepted"] is True
    lasting = await evolution.put(f"/group/toggleEphemeral/{INSTANCE}", {"expiration": 86400}, **of_group)
    assert (lasting.status_code, lasting.json()) == (201, {"success": True})
    wrong = await evolution.put(f"/group/toggleEphemeral/{INSTANCE}", {"expiration": 60}, **of_group)
    assert "expiration is not one of enum values" in messages_of(wrong)[0][0]
    for action, announce, locked in (("announcement", True, False), ("locked", True, True), ("unlocked", True, False)):
        changed = await evolution.put(f"/group/updateSetting/{INSTANCE}", {"action": action}, **of_group)
        assert (changed.status_code, changed.json()) == (201, {"updateSetting": action})
        shown = (await evolution.get(f"/group/findGroupInfos/{INSTANCE}", **of_group)).json()
        assert (shown["announce"], shown["restrict"]) == (announce, locked)
    wrong = await evolution.put(f"/group/updateSetting/{INSTANCE}", {"action": "open"}, **of_group)
    assert "is not one of enum values" in messages_of(wrong)[0][0]
    bad = await evolution.get(f"/group/inviteCode/{INSTANCE}", params={"groupJid": "x"})
    assert "groupJid does not match pattern" in messages_of(bad)[0][0]


@pytest.mark.shows(NAME, "PUT /group/updateGroupPicture/{instance}", "groupJid", "image")
@pytest.mark.shows(NAME, "POST /group/create/{instance}", "profilePicture")
async def test_a_group_has_a_picture_from_the_beginning_and_gets_another(evolution: Evolution) -> None:
    await evolution.connected()

    async def shown() -> str:
        answer = await evolution.get(f"/group/findGroupInfos/{INSTANCE}", params={"groupJid": group})
        return str(answer.json()["pictureUrl"])

    pictures = [base64.b64encode(a_picture(colour)).decode() for colour in ("teal", "coral")]
    new = {"subject": "Office", "participants": [FRIEND], "profilePicture": f"data:image/png;base64,{pictures[0]}"}
    made = await evolution.post(f"/group/create/{INSTANCE}", new)
    assert made.status_code == 201, made.text
    group = made.json()["id"]
    first = await shown()
    changed = await evolution.put(
        f"/group/updateGroupPicture/{INSTANCE}", {"image": pictures[1]}, params={"groupJid": group}
    )
    assert (changed.status_code, changed.json()) == (201, {"update": "success"})
    assert await shown() != first
    for image in ("not base64!", "aGVsbG8="):
        refused = await evolution.put(f"/group/updateGroupPicture/{INSTANCE}", {"groupJid": group, "image": image})
        assert refused.status_code in (400, 415), refused.text


async def test_no_group_is_made_with_a_picture_that_is_none(evolution: Evolution) -> None:
    await evolution.connected()
    for picture in ("aGVsbG8=", "https://example.com/a.png"):  # no image, and not to be fetched from here
        new = {"subject": "Office", "participants": [FRIEND], "profilePicture": picture}
        refused = await evolution.post(f"/group/create/{INSTANCE}", new)
        assert refused.status_code in (400, 415), refused.text
    every = await evolution.get(f"/group/fetchAllGroups/{INSTANCE}", params={"getParticipants": "false"})
    assert every.json() == []


@pytest.mark.shows(NAME, "POST /chat/whatsappNumbers/{instance}", "numbers", "answer.exists", "answer.jid")
@pytest.mark.shows(NAME, "POST /chat/fetchProfilePictureUrl/{instance}", "number", "answer.profilePictureUrl")
@pytest.mark.shows(NAME, "POST /chat/fetchProfile/{instance}", "number", "answer.numberExists", "answer.status")
@pytest.mark.shows(NAME, "POST /chat/findContacts/{instance}", "where.id", "v2 where.remoteJid")
async def test_people_are_looked_up(evolution: Evolution) -> None:
    await evolution.connected()
    written = [f"+{FRIEND}", NOBODY_THERE, "not a number"]
    checked = await evolution.post(f"/chat/whatsappNumbers/{INSTANCE}", {"numbers": written})
    assert checked.status_code == 200, checked.text
    assert [(one["exists"], one["number"]) for one in checked.json()] == [
        (True, written[0]),
        (False, written[1]),
        (False, written[2]),
    ]
    assert checked.json()[0]["jid"] == f"{FRIEND}@s.whatsapp.net"
    picture = await evolution.post(f"/chat/fetchProfilePictureUrl/{INSTANCE}", {"number": FRIEND})
    assert picture.json()["wuid"] == f"{FRIEND}@s.whatsapp.net"
    assert "profilePictureUrl" in picture.json()
    profile = (await evolution.post(f"/chat/fetchProfile/{INSTANCE}", {"number": FRIEND})).json()
    assert (profile["wuid"], profile["numberExists"]) == (f"{FRIEND}@s.whatsapp.net", True)
    assert profile["status"] == "Hey there! I am using WhatsApp."
    everybody = (await evolution.post(f"/chat/findContacts/{INSTANCE}", {})).json()
    assert everybody
    first = everybody[0]
    assert (await evolution.post(f"/chat/findContacts/{INSTANCE}", {"where": {"id": first["id"]}})).json() == [first]
    (v2,) = (
        await evolution.post(
            f"/chat/findContacts/{INSTANCE}", {"where": {"remoteJid": first["id"]}}, headers={"Accept-Version": "v2"}
        )
    ).json()
    assert v2["remoteJid"] == first["id"]


@pytest.mark.shows(NAME, "PUT /chat/markMessageAsRead/{instance}", "read_messages", "v2 readMessages")
@pytest.mark.shows(NAME, "POST /chat/sendPresence/{instance}", "number", "options.presence", "v2 presence", "delay")
@pytest.mark.shows(NAME, "DELETE /chat/deleteMessageForEveryone/{instance}", "id", "remoteJid", "fromMe")
@pytest.mark.shows(NAME, "PUT /chat/updateMessage/{instance}", "number", "text", "key")
async def test_messages_are_read_typed_corrected_and_deleted(evolution: Evolution) -> None:
    await evolution.connected()
    for name in ("read_messages", "readMessages"):
        keys = [{"remoteJid": f"{FRIEND}@s.whatsapp.net", "fromMe": False, "id": "3A01"}]
        read = await evolution.put(f"/chat/markMessageAsRead/{INSTANCE}", {name: keys})
        assert (read.status_code, read.json()) == (201, {"message": "Read messages", "read": "success"})
    for body in (
        {"number": FRIEND, "options": {"delay": 20, "presence": "composing"}},
        {"number": FRIEND, "delay": 20, "presence": "recording"},
        {"number": FRIEND, "delay": 0, "presence": "available"},
    ):
        typed = await evolution.post(f"/chat/sendPresence/{INSTANCE}", body)
        assert typed.status_code == 201, typed.text
    text = await evolution.post(f"/message/sendText/{INSTANCE}", {"number": FRIEND, "text": "Helo"})
    key = text.json()["key"]
    corrected = await evolution.put(f"/chat/updateMessage/{INSTANCE}", {"number": FRIEND, "text": "Hello", "key": key})
    assert corrected.status_code == 200, corrected.text
    assert corrected.json()["message"]["protocolMessage"]["key"] == key
    deleted = await evolution.delete(f"/chat/deleteMessageForEveryone/{INSTANCE}", key)
    assert deleted.status_code == 201, deleted.text
    assert deleted.json()["message"]["protocolMessage"]["type"] == "REVOKE"
    target = MessageKey(chat=key["remoteJid"], whatsapp_id=key["id"], from_me=True)
    contents = [command.content for command in await evolution.sent()]
    assert contents[1:] == [Edit(target=target, text="Hello"), Revoke(target=target)]


@pytest.mark.shows(NAME, "POST /chat/findMessages/{instance}", "where.key.remoteJid", "where.key.id", "v2 page")
@pytest.mark.shows(NAME, "POST /chat/findStatusMessage/{instance}", "where.id")
@pytest.mark.shows(NAME, "GET /chat/findChats/{instance}")
@pytest.mark.shows(NAME, "POST /chat/findChats/{instance}")
@pytest.mark.shows(NAME, "POST /chat/getBase64FromMediaMessage/{instance}", "message.key.id", "answer.base64")
async def test_messages_and_their_files_are_found_again(evolution: Evolution, mongo_server: MongoServer) -> None:
    await evolution.connected()
    data = file_of("a.png", 700)
    image = await evolution.post(
        f"/message/sendMedia/{INSTANCE}",
        {"number": FRIEND, "mediatype": "image", "caption": "Look", "media": base64.b64encode(data).decode()},
    )
    key = image.json()["key"]
    await evolution.post(f"/message/sendText/{INSTANCE}", {"number": OTHER, "text": "Halo"})
    mongo = Mongo.connect(mongo_server.url)
    await evolution.gateway.api.write_history(mongo)
    await mongo.close()
    everything = (await evolution.post(f"/chat/findMessages/{INSTANCE}", {})).json()
    assert [one["messageType"] for one in everything] == ["conversation", "imageMessage"]
    where = {"where": {"key": {"remoteJid": f"{FRIEND}@s.whatsapp.net"}}}
    (of_chat,) = (await evolution.post(f"/chat/findMessages/{INSTANCE}", where)).json()
    assert of_chat["key"] == key
    v2 = await evolution.post(
        f"/chat/findMessages/{INSTANCE}", {"page": 2, "offset": 1}, headers={"Accept-Version": "2"}
    )
    page = v2.json()["messages"]
    assert (page["currentPage"], [one["key"] for one in page["records"]]) == (2, [key])
    steps = (await evolution.post(f"/chat/findStatusMessage/{INSTANCE}", {"where": {"id": key["id"]}})).json()
    assert steps[0]["status"] == "SERVER_ACK"
    assert {step["id"] for step in steps} == {key["id"]}
    for method in ("GET", "POST"):
        chats = (await evolution.request(method, f"/chat/findChats/{INSTANCE}")).json()
        assert [chat["id"] for chat in chats] == [f"{OTHER}@s.whatsapp.net", f"{FRIEND}@s.whatsapp.net"]
    file = await evolution.post(f"/chat/getBase64FromMediaMessage/{INSTANCE}", {"message": {"key": {"id": key["id"]}}})
    assert file.status_code == 201, file.text
    assert base64.b64decode(file.json()["base64"]) == data
    assert (file.json()["mediaType"], file.json()["caption"]) == ("imageMessage", "Look")
    missing = await evolution.post(f"/chat/getBase64FromMediaMessage/{INSTANCE}", {"message": {"key": {"id": "3A"}}})
    assert (missing.status_code, messages_of(missing)) == (400, ["Message not found"])
    assert "Helo" not in json.dumps(everything)


LACKING = [("POST", "chat/fetchBusinessProfile"), ("POST", "call/offer")]


@pytest.mark.shows(NAME, "POST /chat/fetchBusinessProfile/{instance}", "error 501")
@pytest.mark.shows(NAME, "POST /call/offer/{instance}", "error 501")
async def test_what_no_engine_can_do_is_named_and_never_a_false_success(evolution: Evolution) -> None:
    await evolution.created()
    for method, path in LACKING:
        refused = await evolution.request(method, f"/{path}/{INSTANCE}", json={})
        assert (refused.status_code, refused.json()["error"]) == (501, "Not Implemented"), path
        assert "Not supported" in messages_of(refused)[0]
