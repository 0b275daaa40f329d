"""Whatever WhatsApp refuses has a reason of its own, and the device goes on, or says why it does not."""

from datetime import UTC, datetime, timedelta

import pytest

from kurir.contracts.content import Audio, Image, Text
from kurir.contracts.states import ConnectionState, Reason
from kurir.session_node.engines.engine import MediaFailed, NotConnected, SendFailed
from tests.contract.engine.worlds import Kept, Watched, a_spec
from tests.contract.neonize.people import VERA, VERA_JID, Person, a_picture, bytes_of
from tests.support.remote_engine.engine import RemoteEngine
from tests.support.whatsapp_emulator.client import EmulatorClient

pytestmark = pytest.mark.asyncio(loop_scope="session")

PICTURE = Kept(a_picture(), "image/png")


async def reason_of(person: Person, to: str, *content: object) -> Reason:
    with pytest.raises(SendFailed) as failed:
        await person.send(to, *content)  # type: ignore[arg-type]
    return failed.value.reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [("463", "reachout_timelock"), ("429", "rate_overlimit"), ("479", "engine_error"), ("421", "group_left")],
)
async def test_a_refused_message_has_the_reason_of_its_code(
    whatsapp: EmulatorClient, ayu: Person, code: str, reason: Reason
) -> None:
    await whatsapp.set_faults(ack_error={VERA: code})
    assert await reason_of(ayu, VERA_JID, "refused") == reason
    await whatsapp.reset_faults()
    assert await ayu.send(VERA_JID, "taken")


async def test_a_number_without_whatsapp_gets_nothing(ayu: Person) -> None:
    assert await reason_of(ayu, "628000000000@s.whatsapp.net", "hello?") == "not_on_whatsapp"


async def test_media_that_whatsapp_does_not_take_is_refused(whatsapp: EmulatorClient, ayu: Person) -> None:
    await whatsapp.set_faults(upload_status=415)
    assert await reason_of(ayu, VERA_JID, Image(media=PICTURE.media), PICTURE) == "media_refused"
    await whatsapp.set_faults(upload_status=503)
    with pytest.raises(SendFailed) as failed:
        await ayu.send(VERA_JID, Image(media=PICTURE.media), PICTURE)
    assert failed.value.reason == "server_unavailable"
    assert failed.value.retry_after_s is not None


async def test_what_is_no_sound_is_no_voice_note(ayu: Person) -> None:
    assert await reason_of(ayu, VERA_JID, Audio(media=PICTURE.media, voice=True), PICTURE) == "media_refused"


async def test_media_that_cannot_be_downloaded_fails_and_the_message_is_there(
    whatsapp: EmulatorClient, ayu: Person
) -> None:
    await whatsapp.set_faults(download_status=404)
    received = await ayu.until_message(await whatsapp.send_media(VERA, ayu.phone, "image", a_picture(), "image/png"))
    with pytest.raises(MediaFailed) as failed:
        await bytes_of(received)
    assert failed.value.reason == "media_expired"
    await whatsapp.reset_faults()
    assert await bytes_of(received) == a_picture()


@pytest.mark.parametrize(
    ("faults", "lie", "reason"),
    [
        ({"download_status": 404}, {}, "media_expired"),
        ({"download_status": 410}, {}, "media_expired"),
        ({}, {"is_other_file": True}, "media_damaged"),
        ({}, {"said_size": 1 << 40}, "media_too_large"),
    ],
    ids=["gone", "gone for good", "another file", "too large"],
)
async def test_media_that_cannot_be_had_has_its_reason(
    whatsapp: EmulatorClient, ayu: Person, faults: dict[str, int], lie: dict[str, object], reason: Reason
) -> None:
    await whatsapp.set_faults(**faults)
    sent = await whatsapp.send_media(VERA, ayu.phone, "document", b"%PDF-1.7", "application/pdf", **lie)
    received = await ayu.until_message(sent)
    with pytest.raises(MediaFailed) as failed:
        await bytes_of(received)
    assert failed.value.reason == reason


async def test_a_server_that_is_down_is_waited_for(whatsapp: EmulatorClient, ayu: Person) -> None:
    connections, losses = (ayu.watched.states().count(state) for state in ("connected", "disconnected"))
    await whatsapp.set_faults(login_failure={ayu.phone: {"reason": "503"}})
    await whatsapp.drop(ayu.device)
    assert (await ayu.watched.until_state("disconnected", times=losses + 1)).reason == "connection_lost"
    with pytest.raises(NotConnected):
        await ayu.send(VERA_JID, "not now")
    await whatsapp.reset_faults()
    await ayu.watched.until_state("connected", times=connections + 1)
    assert await ayu.send(VERA_JID, "now")


@pytest.mark.parametrize(
    ("phone", "failure", "state", "reason"),
    [
        ("628222000401", {"reason": "401"}, "logged_out", "device_logged_out"),
        ("628222000402", {"reason": "402", "code": "101", "expire": "3600"}, "banned", "device_banned"),
        ("628222000403", {"reason": "403"}, "logged_out", "device_logged_out"),
        ("628222000405", {"reason": "405"}, "outdated", "client_outdated"),
    ],
    ids=["unlinked", "banned", "locked", "outdated"],
)
async def test_a_login_that_is_refused_for_good_ends_the_session_with_its_reason(
    whatsapp: EmulatorClient,
    engine: RemoteEngine,
    phone: str,
    failure: dict[str, str],
    state: ConnectionState,
    reason: Reason,
) -> None:
    person = Person(f"p{failure['reason']}", phone)
    await person.link(engine, whatsapp)
    await whatsapp.set_faults(login_failure={phone: failure})
    await whatsapp.drop(person.device)
    ended = await person.watched.until_state(state)
    assert ended.reason == reason
    assert ended.code == int(failure["reason"])
    if state == "banned":
        assert ended.banned_until is not None
        assert abs(ended.banned_until - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)
    with pytest.raises(NotConnected):
        await person.send(VERA_JID, Text(text="hi"))


async def test_a_login_that_is_refused_for_another_reason_says_which_and_is_tried_again(
    whatsapp: EmulatorClient, engine: RemoteEngine
) -> None:
    person = Person("p409", "628222000409")
    await person.link(engine, whatsapp)
    await whatsapp.set_faults(login_failure={person.phone: {"reason": "409"}})
    await whatsapp.drop(person.device)
    await person.watched.until_state("disconnected", times=2)  # the first is of the connection that was cut
    refused = person.watched.last("disconnected")
    assert (refused.reason, refused.code, refused.detail) == ("server_unavailable", 409, "BAD_USER_AGENT")
    await whatsapp.reset_faults()
    await person.watched.until_state("connected", times=2)
    await person.session.close()


async def test_a_phone_that_wants_a_passkey_ends_the_pairing_with_that_reason(
    whatsapp: EmulatorClient, engine: RemoteEngine
) -> None:
    watched = Watched()
    await engine.open(a_spec("careful"), watched)
    shown = await watched.until_state("qr")
    await whatsapp.want_passkey(shown.qr or "")
    ended = await watched.until_state("passkey_required")
    assert ended.reason == "passkey_required"
    assert watched.states()[-1] == "passkey_required"


async def test_a_connection_that_another_client_took_is_given_up(
    whatsapp: EmulatorClient, engine: RemoteEngine
) -> None:
    person = Person("taken", "628222000001")
    await person.link(engine, whatsapp)
    mark = await whatsapp.mark()
    await whatsapp.conflict(person.device)
    assert (await person.watched.until_state("replaced")).reason == "device_replaced"
    await whatsapp.until_offline(person.device)
    assert not await whatsapp.journal("connection.logged_in", after=mark)
    await person.open(engine)
    assert await person.send(VERA_JID, "mine again")
    await person.session.close()
