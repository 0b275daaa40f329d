"""Whatever is wrong with a message or its device ends as one `failed` status with a reason that has a sentence.

On the real library, from the command to the event. Nothing of it is an exception in a log, and the device goes on.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image as Picture

from kurir.contracts.content import (
    Audio,
    Content,
    Edit,
    Image,
    Media,
    MessageKey,
    Text,
    Unsupported,
)
from kurir.contracts.states import SENTENCES, Reason
from kurir.runtime.broker import Bus
from kurir.runtime.objects import ObjectStore, object_name
from tests.support.emulated_nodes import EmulatedNodes
from tests.support.nats_server import NatsServer
from tests.support.session_nodes import TENANT, Gateway, a_message
from tests.support.whatsapp_emulator.process import EmulatorProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

AYU = "628333000001"
VERA, VERA_JID = "628999000001", "628999000001@s.whatsapp.net"
NOBODY_JID = "628000000000@s.whatsapp.net"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmulatedNodes]:
    """One node with one linked device, on a broker of its own."""
    server = NatsServer()
    await server.start()
    bus = await Bus.connect(server.url, name="test")
    started = EmulatedNodes(emulator, await Gateway.open(bus, server.url), tmp_path_factory.mktemp("node"))
    try:
        await emulator.client.contact(VERA, name="Vera")
        await started.start()
        await started.link("d1", AYU)
        yield started
    finally:
        await started.end()
        await bus.close()
        await server.stop()


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def no_faults_are_left(nodes: EmulatedNodes) -> AsyncIterator[None]:
    yield
    await nodes.whatsapp.reset_faults()


def a_picture() -> bytes:
    file = BytesIO()
    Picture.new("RGB", (8, 8), "teal").save(file, "PNG")
    return file.getvalue()


async def kept(nodes: EmulatedNodes, name: str, data: bytes = b"", mimetype: str = "image/png") -> Media:
    """A file in the media store."""
    store = ObjectStore(nodes.gateway.bus, "media")

    async def whole() -> AsyncIterator[bytes]:
        yield data or a_picture()

    info = await store.put_stream(object_name(TENANT, name), whole(), max_bytes=1_000_000, headers={})
    return Media(object=info.name, mimetype=mimetype, size=info.size, sha256=info.sha256)


# Each arranges what is wrong and says whom to send what.

Case = Callable[[EmulatedNodes], Awaitable[tuple[str, Content]]]


async def a_kind_that_no_device_sends(nodes: EmulatedNodes) -> tuple[str, Content]:
    return VERA_JID, Unsupported(whatsapp_type="newsletterAdminInviteMessage")


async def a_number_without_whatsapp(nodes: EmulatedNodes) -> tuple[str, Content]:
    return NOBODY_JID, Text(text="hello?")


async def what_is_no_recipient(nodes: EmulatedNodes) -> tuple[str, Content]:
    return "everybody@broadcast", Text(text="hello all")


async def a_group_that_the_device_was_never_in(nodes: EmulatedNodes) -> tuple[str, Content]:
    return await nodes.whatsapp.create_group("Others", VERA, [VERA]), Text(text="may I?")


async def a_group_that_the_device_was_removed_from(nodes: EmulatedNodes) -> tuple[str, Content]:
    group = await nodes.whatsapp.create_group("Ours", VERA, [VERA, AYU])
    inside = a_message("d1", to=group, text="still here")
    await nodes.gateway.order(inside)
    await nodes.until_status(inside, "sent")
    await nodes.whatsapp.change_group(group, VERA, remove=[AYU])
    return group, Text(text="and now?")


async def media_that_whatsapp_refuses(nodes: EmulatedNodes) -> tuple[str, Content]:
    await nodes.whatsapp.set_faults(upload_status=415)
    return VERA_JID, Image(media=await kept(nodes, "refused"))


async def a_picture_as_a_voice_note(nodes: EmulatedNodes) -> tuple[str, Content]:
    return VERA_JID, Audio(media=await kept(nodes, "silent"), voice=True)


async def media_that_is_gone(nodes: EmulatedNodes) -> tuple[str, Content]:
    return VERA_JID, Image(media=Media(object=f"{TENANT}/gone", mimetype="image/png", size=10, sha256=""))


async def a_new_contact_under_a_timelock(nodes: EmulatedNodes) -> tuple[str, Content]:
    await nodes.whatsapp.set_faults(ack_error={VERA: "463"})
    return VERA_JID, Text(text="buy!")


async def a_code_that_nobody_knows(nodes: EmulatedNodes) -> tuple[str, Content]:
    await nodes.whatsapp.set_faults(ack_error={VERA: "479"})
    return VERA_JID, Text(text="hm")


async def an_edit_of_what_others_wrote(nodes: EmulatedNodes) -> tuple[str, Content]:
    return VERA_JID, Edit(target=MessageKey(chat=VERA_JID, whatsapp_id="3EB0AA"), text="I wrote that")


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (a_kind_that_no_device_sends, "kind_not_supported"),
        (a_number_without_whatsapp, "not_on_whatsapp"),
        (what_is_no_recipient, "invalid_recipient"),
        (a_group_that_the_device_was_never_in, "group_left"),
        (a_group_that_the_device_was_removed_from, "group_left"),
        (media_that_whatsapp_refuses, "media_refused"),
        (a_picture_as_a_voice_note, "media_refused"),
        (media_that_is_gone, "media_missing"),
        (a_new_contact_under_a_timelock, "reachout_timelock"),
        (a_code_that_nobody_knows, "engine_error"),
        (an_edit_of_what_others_wrote, "engine_error"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_a_message_that_cannot_be_sent_fails_with_its_reason_and_the_next_one_goes(
    nodes: EmulatedNodes, case: Case, reason: Reason
) -> None:
    to, content = await case(nodes)
    wrong, right = a_message("d1", to=to, content=content), a_message("d1", to=VERA_JID, text="and this one goes")
    await nodes.gateway.order(wrong)
    failed = await nodes.until_status(wrong, "failed")
    assert (failed.reason, failed.whatsapp_id) == (reason, None)
    assert SENTENCES[reason]
    await nodes.whatsapp.reset_faults()
    await nodes.gateway.order(right)
    assert (await nodes.until_status(right, "sent")).whatsapp_id
    assert [status for status in await nodes.statuses(wrong) if status != "sending"] == ["failed"]
    assert nodes.complaints() == []


async def test_a_number_that_sends_too_fast_is_told_so_and_tried_again_later(nodes: EmulatedNodes) -> None:
    await nodes.link("hasty", "628333000429")  # what it sends next waits for this one
    await nodes.whatsapp.set_faults(ack_error={VERA: "429"})
    message = a_message("hasty", to=VERA_JID)
    await nodes.gateway.order(message)
    assert (await nodes.until_status(message, "retrying")).reason == "rate_overlimit"
    assert nodes.complaints() == []


@pytest.mark.parametrize(
    ("phone", "failure", "state", "reason"),
    [
        ("628333000401", {"reason": "401"}, "logged_out", "device_logged_out"),
        ("628333000402", {"reason": "402", "code": "101", "expire": "3600"}, "banned", "device_banned"),
        ("628333000403", {"reason": "403"}, "logged_out", "device_logged_out"),
    ],
    ids=["unlinked", "banned", "locked"],
)
async def test_a_device_that_whatsapp_lets_in_no_more_fails_its_messages_with_that_reason(
    nodes: EmulatedNodes, phone: str, failure: dict[str, Any], state: str, reason: Reason
) -> None:
    await nodes.link(f"d{phone}", phone)
    await nodes.whatsapp.set_faults(login_failure={phone: failure})
    await nodes.whatsapp.drop(phone)
    await nodes.until_state(f"d{phone}", state)
    messages = [a_message(f"d{phone}", to=VERA_JID) for _ in range(2)]
    await nodes.gateway.order(*messages)
    for message in messages:
        assert (await nodes.until_status(message, "failed")).reason == reason
        assert await nodes.statuses(message) == ["failed"]
    assert nodes.complaints() == []


async def test_a_message_that_waits_for_its_device_fails_when_the_phone_unlinks_it(nodes: EmulatedNodes) -> None:
    await nodes.link("unlinked", "628333000500")
    await nodes.whatsapp.set_faults(is_down=True)
    await nodes.until_state("unlinked", "disconnected")
    waiting = a_message("unlinked", to=VERA_JID)
    await nodes.gateway.order(waiting)
    await nodes.whatsapp.set_faults(is_down=False, login_failure={"628333000500": {"reason": "401"}})
    assert (await nodes.until_status(waiting, "failed")).reason == "device_logged_out"
    assert nodes.complaints() == []
