"""`/devices/{id}/contacts` and `/numbers`: whom a device knows, and who has WhatsApp."""

from typing import Annotated

from litestar import Router, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from kurir.api.auth import Caller
from kurir.api.contacts.schemas import (
    AboutView,
    CheckNumbers,
    ContactPageView,
    NumberView,
    PictureView,
    number_view_of,
    page_view_of,
)
from kurir.api.contacts.service import Contacts
from kurir.api.people import Person, person_of
from kurir.contracts.queries import PAGE_LIMIT


@get("/contacts")
async def list_contacts(
    device_id: FromPath[str],
    caller: NamedDependency[Caller],
    contacts: NamedDependency[Contacts],
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_LIMIT)] = 100,
    cursor: Annotated[str | None, QueryParameter(description="`next` of the page before")] = None,
) -> ContactPageView:
    """Who is in the account's address book or has written."""
    return page_view_of(await contacts.page(caller, device_id, limit=limit, cursor=cursor))


@get("/contacts/{contact_id:str}/picture")
async def show_picture(
    device_id: FromPath[str],
    contact_id: FromPath[str],
    caller: NamedDependency[Caller],
    contacts: NamedDependency[Contacts],
) -> PictureView:
    """The profile picture of a person or group."""
    picture = await contacts.picture(caller, device_id, contact_id)
    return PictureView(id=picture.id, url=picture.url)


@get("/contacts/{contact_id:str}/about")
async def show_about(
    device_id: FromPath[str],
    contact_id: FromPath[str],
    caller: NamedDependency[Caller],
    contacts: NamedDependency[Contacts],
) -> AboutView:
    """What a person says of himself under his name; null where there is nothing to see."""
    return AboutView(about=await contacts.about(caller, device_id, contact_id))


@get("/blocked")
async def list_blocked(
    device_id: FromPath[str], caller: NamedDependency[Caller], contacts: NamedDependency[Contacts]
) -> list[Person]:
    """Who is blocked."""
    return [person_of(address) for address in await contacts.blocked(caller, device_id)]


@put("/blocked/{contact_id:str}", status_code=204)
async def block_person(
    device_id: FromPath[str],
    contact_id: FromPath[str],
    caller: NamedDependency[Caller],
    contacts: NamedDependency[Contacts],
) -> None:
    """Block a person, who can then neither write to the account nor call it."""
    await contacts.set_blocked(caller, device_id, contact_id, blocked=True)


@delete("/blocked/{contact_id:str}")
async def unblock_person(
    device_id: FromPath[str],
    contact_id: FromPath[str],
    caller: NamedDependency[Caller],
    contacts: NamedDependency[Contacts],
) -> None:
    """Let a person in again who was blocked."""
    await contacts.set_blocked(caller, device_id, contact_id, blocked=False)


@post("/numbers/check", status_code=200)
async def check_numbers(
    device_id: FromPath[str],
    data: JSONBody[CheckNumbers],
    caller: NamedDependency[Caller],
    contacts: NamedDependency[Contacts],
) -> list[NumberView]:
    """Which numbers have WhatsApp. Answers are remembered for a day; new numbers are limited, because WhatsApp bans who
    asks for many."""
    checks = await contacts.check_numbers(caller, device_id, data.numbers)
    return [number_view_of(number, check) for number, check in zip(data.numbers, checks, strict=True)]


routes = (list_contacts, show_picture, show_about, list_blocked, block_person, unblock_person, check_numbers)


def router() -> Router:
    return Router("/devices/{device_id:str}", route_handlers=routes, tags=["Contacts"])
