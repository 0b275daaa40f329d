"""`/messages`: what became of them. Sending is in send.py."""

from typing import Annotated, Literal

from litestar import Router, delete, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from kurir.api.auth import Caller
from kurir.api.messages.service import Messages
from kurir.api.messages.views import MessageView, Page, Story


@get("/")
async def list_messages(
    caller: NamedDependency[Caller],
    messages: NamedDependency[Messages],
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 25,
    cursor: Annotated[str | None, QueryParameter(description="`next` of the page before")] = None,
    device_id: Annotated[str | None, QueryParameter(name="deviceId")] = None,
    chat: Annotated[str | None, QueryParameter(description="a phone number or group id")] = None,
    direction: Annotated[Literal["outbound", "inbound"] | None, QueryParameter()] = None,
) -> Page:
    """Messages sent and received, newest first."""
    return await messages.page(caller, limit=limit, cursor=cursor, device_id=device_id, chat=chat, direction=direction)


@get("/{message_id:str}")
async def show_message(
    message_id: FromPath[str], caller: NamedDependency[Caller], messages: NamedDependency[Messages]
) -> MessageView:
    """One message and how far it has come."""
    return await messages.show(caller, message_id)


@delete("/{message_id:str}")
async def cancel_message(
    message_id: FromPath[str], caller: NamedDependency[Caller], messages: NamedDependency[Messages]
) -> None:
    """Cancel a message that waits for its `sendAt`."""
    await messages.cancel(caller, message_id)


@get("/{message_id:str}/story")
async def tell_story(
    message_id: FromPath[str], caller: NamedDependency[Caller], messages: NamedDependency[Messages]
) -> Story:
    """Everything that happened to a message, in order, each webhook attempt included."""
    return await messages.story(caller, message_id)


def router() -> Router:
    return Router(
        "/messages", route_handlers=(list_messages, show_message, cancel_message, tell_story), tags=["Messages"]
    )
