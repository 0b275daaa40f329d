"""`/devices/{id}/contacts` and `/numbers`: whom a device knows, and who has WhatsApp."""

from typing import Annotated

from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from kurir.api.auth import Caller
from kurir.api.contacts.schemas import (
    CheckNumbers,
    ContactPageView,
    NumberView,
    PictureView,
    number_view_of,
    page_view_of,
)
from kurir.api.contacts.service import Contacts
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


routes = (list_contacts, show_picture, check_numbers)


def router() -> Router:
    return Router("/devices/{device_id:str}", route_handlers=routes, tags=["Contacts"])
