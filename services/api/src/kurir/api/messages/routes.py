"""`/messages`: what became of them. Sending is in send.py."""

from typing import Annotated, Literal

from litestar import Response, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter

from kurir.api.auth import Caller
from kurir.api.messages.known import KnownMessages
from kurir.api.messages.requests import EditMessage
from kurir.api.messages.service import Accepted, Messages
from kurir.api.messages.views import MessageView, Page, Story

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(name="Idempotency-Key", description="The same key and body is the same message, for 24 hours."),
]


@get("/")
async def list_messages(
    caller: NamedDependency[Caller],
    known_messages: NamedDependency[KnownMessages],
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 25,
    cursor: Annotated[str | None, QueryParameter(description="`next` of the page before")] = None,
    device_id: Annotated[str | None, QueryParameter(name="deviceId")] = None,
    chat: Annotated[str | None, QueryParameter(description="a phone number, group id or status@broadcast")] = None,
    direction: Annotated[Literal["outbound", "inbound"] | None, QueryParameter()] = None,
) -> Page:
    """Messages sent and received, newest first."""
    return await known_messages.page(
        caller, limit=limit, cursor=cursor, device_id=device_id, chat=chat, direction=direction
    )


@get("/{message_id:str}")
async def show_message(
    message_id: FromPath[str], caller: NamedDependency[Caller], known_messages: NamedDependency[KnownMessages]
) -> MessageView:
    """One message and how far it has come."""
    return await known_messages.show(caller, message_id)


@delete("/{message_id:str}")
async def cancel_message(
    message_id: FromPath[str], caller: NamedDependency[Caller], messages: NamedDependency[Messages]
) -> None:
    """Cancel a message that waits for its `sendAt`."""
    await messages.cancel(caller, message_id)


@patch("/{message_id:str}")
async def edit_message(
    message_id: FromPath[str],
    data: JSONBody[EditMessage],
    caller: NamedDependency[Caller],
    messages: NamedDependency[Messages],
    idempotency_key: IdempotencyKey = None,
) -> Response[Accepted]:
    """Give a text that was sent another text, within 15 minutes. The edit is a message with an id of its own."""
    order = await messages.edit(caller, message_id, data.text, idempotency_key)
    accepted, headers = await messages.take(order, idempotency_key)
    return Response(accepted, headers=headers)


@post("/{message_id:str}/revoke", status_code=200)
async def revoke_message(
    message_id: FromPath[str],
    caller: NamedDependency[Caller],
    messages: NamedDependency[Messages],
    idempotency_key: IdempotencyKey = None,
) -> Response[Accepted]:
    """Delete a message for everyone; in a group whose admin the device is, anybody's. The deletion is a message with an
    id of its own."""
    order = await messages.revoke(caller, message_id)
    accepted, headers = await messages.take(order, idempotency_key)
    return Response(accepted, headers=headers)


@get("/{message_id:str}/story")
async def tell_story(
    message_id: FromPath[str], caller: NamedDependency[Caller], known_messages: NamedDependency[KnownMessages]
) -> Story:
    """Everything that happened to a message, in order, each webhook attempt included."""
    return await known_messages.story(caller, message_id)


def router() -> Router:
    routes = (list_messages, show_message, cancel_message, edit_message, revoke_message, tell_story)
    return Router("/messages", route_handlers=routes, tags=["Messages"])
