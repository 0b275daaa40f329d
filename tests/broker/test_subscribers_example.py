"""The subscriber in docs/subscribers works as printed: contracts and nats-py, nothing else of Kurir."""

import asyncio
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kurir.contracts import events, headers, subjects
from kurir.contracts.content import Address, Text
from kurir.runtime import topology
from kurir.runtime.broker import Bus
from tests.support.conditions import until
from tests.support.nats_server import NatsServer

PAGE = Path(__file__).parents[2] / "docs" / "subscribers" / "README.md"


def printed_example() -> str:
    """The first Python block of the page."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def an_inbound(text: str) -> events.MessageUpserted:
    contact = Address(jid="1@lid", pn="6281234567890@s.whatsapp.net", lid="1@lid")
    return events.MessageUpserted(
        id=f"in-{text}",
        tenant="t1",
        device="c1",
        at=datetime.now(UTC),
        seq=1,
        message_id=f"in-{text}",
        whatsapp_id="3A",
        chat=contact,
        sender=contact,
        content=Text(text=text),
        sent_at=datetime.now(UTC),
    )


async def publish(bus: Bus, event: events.MessageUpserted) -> None:
    type_ = events.type_of(event)
    attributes = headers.cloudevent(id_=event.id, type_=type_, source="test", time="", subject=event.device)
    await bus.publish(subjects.event("t1", "c1", type_), events.encode(event), msg_id=event.id, headers=attributes)


def test_the_example_is_about_fifteen_lines_and_imports_contracts_alone() -> None:
    code = [line for line in printed_example().splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(code) <= 17
    assert set(re.findall(r"from (kurir\S*)", printed_example())) == {"kurir.contracts"}


@pytest.mark.timeout(60)
async def test_the_printed_subscriber_prints_what_happened_also_while_it_was_away(
    bus: Bus, nats_server: NatsServer, tmp_path: Path
) -> None:
    await topology.apply(bus)
    script = tmp_path / "subscriber.py"
    script.write_text(printed_example())
    for text in ("first", "while away"):
        if text == "first":
            await publish(bus, an_inbound(text))
        output = tmp_path / f"{text}.txt"
        with output.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(script), stdout=out, stderr=out, env={**os.environ, "NATS_URL": nats_server.url}
            )
        await until("it printed the message", lambda: f"text='{text}'" in output.read_text(), within_s=20)  # noqa: B023
        process.kill()
        await process.wait()
        if text == "first":
            await publish(bus, an_inbound("while away"))
