"""How far a message has come, and who is told."""

from typing import Any

import pytest

from kurir.contracts import ids
from kurir.contracts.states import SENTENCES, MessageStatus, Reason
from kurir.runtime.mongo import Mongo
from tests.contract.dialects.rk_connect.conftest import Project, failure, project_of

NAME = "rk_connect"
STATUS = "GET /api/v1/status/{uuid}"


async def status(project: Project, message: str) -> dict[str, Any]:
    answer = await project.request("GET", f"/api/v1/status/{message}", headers={"X-DEVICE-CODE": None})
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


@pytest.mark.shows(NAME, STATUS, "answer.data.status", "answer.data.delivered_at")
async def test_a_message_is_followed_from_queued_to_read(project: Project, mongo: Mongo) -> None:
    message = (await project.send()).json()["data"]["id"]
    words = []
    told: list[MessageStatus] = ["sent", "delivered", "read"]
    await project.api.write_history(mongo)
    words.append((await status(project, message))["status"])
    for one in told:
        await project.tell(message, one)
        await project.api.write_history(mongo)
        data = await status(project, message)
        words.append(data["status"])
        assert (data["delivered_at"] is None) == (one == "sent")
    assert words == ["queued", "sent", "delivered", "read"]


FAILURES: list[tuple[MessageStatus, Reason, str]] = [
    ("failed", "not_on_whatsapp", "NUMBER_NOT_ON_WHATSAPP"),
    ("failed", "reachout_timelock", "REACHOUT_TIMELOCK"),
    ("unknown", "outcome_unknown", "UNKNOWN_AFTER_CRASH"),
    ("expired", "expired", "MESSAGE_EXPIRED"),
]


@pytest.mark.shows(NAME, STATUS, "answer.data.failed_at", "answer.data.error_message")
async def test_a_message_that_was_not_sent_says_why_by_a_code_and_a_sentence(project: Project, mongo: Mongo) -> None:
    for came_to, reason, code in FAILURES:
        message = (await project.send()).json()["data"]["id"]
        await project.tell(message, came_to, reason)
        await project.api.write_history(mongo)
        data = await status(project, message)
        assert (data["status"], data["error_message"]) == ("failed", f"{code}: {SENTENCES[reason]}")
        assert data["failed_at"].endswith("+07:00")


@pytest.mark.shows(NAME, STATUS, "answer.data.created_at")
async def test_times_are_those_of_the_tenants_zone(project: Project, mongo: Mongo) -> None:
    theirs = await project_of(project.api, await project.api.tenant(country="BR", timeZone="America/Sao_Paulo"))
    message = (await theirs.send()).json()["data"]["id"]
    await project.api.write_history(mongo)
    assert (await status(theirs, message))["created_at"].endswith("-03:00")


@pytest.mark.shows(NAME, STATUS, "error 404 MESSAGE_NOT_FOUND")
async def test_an_unknown_or_foreign_message_is_not_found(project: Project, mongo: Mongo) -> None:
    other = await project_of(project.api, await project.api.tenant())
    message = (await project.send()).json()["data"]["id"]
    await project.api.write_history(mongo)
    assert (await status(project, message))["id"] == message
    for name in (message, "nothing", "550e8400-e29b-41d4-a716-446655440000"):
        foreign = await other.request("GET", f"/api/v1/status/{name}")
        assert failure(foreign) == (404, "MESSAGE_NOT_FOUND"), name


@pytest.mark.shows(NAME, STATUS, "answer.data.device_code")
async def test_a_message_of_a_device_that_is_gone_names_it_by_its_id(project: Project, mongo: Mongo) -> None:
    message = (await project.send()).json()["data"]["id"]
    await project.api.write_history(mongo)
    assert (await project.tenant.delete(f"/devices/{project.device}")).status_code in (200, 204)
    assert (await status(project, message))["device_code"] == project.device


@pytest.mark.shows(NAME, STATUS, "error 503 SERVICE_UNAVAILABLE")
async def test_while_the_history_is_away_that_is_told(project: Project, mongo_server: Any) -> None:
    await mongo_server.kill()
    answer = await project.request("GET", f"/api/v1/status/{ids.uuid7()}")
    assert failure(answer) == (503, "SERVICE_UNAVAILABLE")
