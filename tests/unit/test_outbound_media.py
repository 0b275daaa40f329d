"""What becomes of a message whose file cannot be read."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kurir.contracts.content import Image, Media
from kurir.contracts.states import Reason
from kurir.runtime.objects import ObjectDamaged, ObjectNotFound, StoreUnavailable
from kurir.session_node.engines.engine import Engine, MediaFailed, SendFailed, SendOrder
from kurir.session_node.engines.sandbox.client import SandboxEngine
from kurir.session_node.outbound_media import STORE_AWAY_S, StoredMedia
from tests.contract.engine.worlds import Watched, a_spec
from tests.unit.test_neonize_session import JID, Scripted, running

PICTURE = Media(object="t/1", mimetype="image/png", size=2, sha256="")


class Failing:
    """A media store that gives half of every file."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def open_stream(self, name: str) -> AsyncIterator[bytes]:
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield b"h"
        raise self._error


def unreadable(error: Exception) -> StoredMedia:
    store: Any = Failing(error)
    return StoredMedia(store, PICTURE)


@pytest.mark.parametrize(
    ("error", "reason", "retry_after_s"),
    [
        (ObjectNotFound("t/1"), "media_missing", None),
        (ObjectDamaged("t/1"), "media_missing", None),
        (StoreUnavailable("no answer"), "media_fetch_failed", STORE_AWAY_S),
    ],
)
async def test_a_file_that_is_gone_is_given_up_and_one_whose_store_is_away_is_not(
    error: Exception, reason: Reason, retry_after_s: float | None
) -> None:
    with pytest.raises(MediaFailed) as failed:
        [piece async for piece in unreadable(error).chunks()]
    assert (failed.value.reason, failed.value.retry_after_s) == (reason, retry_after_s)


async def refusal(engine: Engine, jid: str) -> SendFailed:
    """Of a picture whose store is away."""
    watched = Watched()
    session = await engine.open(a_spec(jid=jid), watched)
    await watched.until_state("connected")
    away = unreadable(StoreUnavailable("no answer"))
    order = SendOrder(message_id="m1", to="62812@s.whatsapp.net", content=Image(media=PICTURE), media=away)
    with pytest.raises(SendFailed) as failed:
        await session.send(order)
    return failed.value


async def test_engines_say_when_to_try_again_while_the_store_is_away(tmp_path: Path) -> None:
    sandbox = SandboxEngine(None)
    await sandbox.start()
    assert (await refusal(sandbox, "628111222333@s.whatsapp.net")).retry_after_s == STORE_AWAY_S
    await sandbox.stop()
    async with running(tmp_path, Scripted()) as neonize:
        assert (await refusal(neonize, JID)).retry_after_s == STORE_AWAY_S
