"""`/devices/{id}/presence` and `/chats`: what a device shows to others, and whose presence it watches."""

from litestar import Router, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from kurir.api.auth import Caller
from kurir.api.chats.schemas import Archive, LabelView, ReadMessages, ShowPresence, ShowTyping, label_view_of
from kurir.api.chats.service import Chats


@put("/presence", status_code=204)
async def show_presence(
    device_id: FromPath[str],
    data: JSONBody[ShowPresence],
    caller: NamedDependency[Caller],
    chats: NamedDependency[Chats],
) -> None:
    """Appear online, or not. A device is offline until you say otherwise, and again after each reconnect."""
    await chats.show_presence(caller, device_id, online=data.presence == "online")


@post("/chats/{chat_id:str}/typing", status_code=204)
async def show_typing(
    device_id: FromPath[str],
    chat_id: FromPath[str],
    caller: NamedDependency[Caller],
    chats: NamedDependency[Chats],
    data: JSONBody[ShowTyping | None] = None,
) -> None:
    """Appear to be typing or recording in a chat. Contacts see it only of a device that is online."""
    await chats.show_typing(caller, device_id, chat_id, (data or ShowTyping()).state)


@post("/chats/{chat_id:str}/read", status_code=204)
async def mark_read(
    device_id: FromPath[str],
    chat_id: FromPath[str],
    data: JSONBody[ReadMessages],
    caller: NamedDependency[Caller],
    chats: NamedDependency[Chats],
) -> None:
    """Tell the sender that messages were read, or played."""
    await chats.mark_read(caller, device_id, chat_id, data)


@post("/chats/{chat_id:str}/presence", status_code=204)
async def watch_presence(
    device_id: FromPath[str], chat_id: FromPath[str], caller: NamedDependency[Caller], chats: NamedDependency[Chats]
) -> None:
    """Be told when a person is online or typing, by the event `presence.update`, until the connection ends."""
    await chats.watch_presence(caller, device_id, chat_id)


@put("/chats/{chat_id:str}/archive", status_code=204)
async def archive_chat(
    device_id: FromPath[str],
    chat_id: FromPath[str],
    data: JSONBody[Archive],
    caller: NamedDependency[Caller],
    chats: NamedDependency[Chats],
) -> None:
    """Put a chat into the account's archive, or take it out again."""
    await chats.archive(caller, device_id, chat_id, archived=data.archived)


@post("/chats/{chat_id:str}/unread", status_code=204)
async def mark_unread(
    device_id: FromPath[str], chat_id: FromPath[str], caller: NamedDependency[Caller], chats: NamedDependency[Chats]
) -> None:
    """Mark a chat as one to look at, for the account itself."""
    await chats.mark_unread(caller, device_id, chat_id)


@get("/labels")
async def list_labels(
    device_id: FromPath[str], caller: NamedDependency[Caller], chats: NamedDependency[Chats]
) -> list[LabelView]:
    """The labels of a business account, and the chats that have them."""
    return [label_view_of(label) for label in await chats.labels(caller, device_id)]


@put("/chats/{chat_id:str}/labels/{label_id:str}", status_code=204)
async def label_chat(
    device_id: FromPath[str],
    chat_id: FromPath[str],
    label_id: FromPath[str],
    caller: NamedDependency[Caller],
    chats: NamedDependency[Chats],
) -> None:
    """Give a chat a label."""
    await chats.set_label(caller, device_id, chat_id, label_id, labeled=True)


@delete("/chats/{chat_id:str}/labels/{label_id:str}")
async def unlabel_chat(
    device_id: FromPath[str],
    chat_id: FromPath[str],
    label_id: FromPath[str],
    caller: NamedDependency[Caller],
    chats: NamedDependency[Chats],
) -> None:
    """Take a label off a chat."""
    await chats.set_label(caller, device_id, chat_id, label_id, labeled=False)


routes = (
    show_presence,
    show_typing,
    mark_read,
    watch_presence,
    archive_chat,
    mark_unread,
    list_labels,
    label_chat,
    unlabel_chat,
)


def router() -> Router:
    return Router("/devices/{device_id:str}", route_handlers=routes, tags=["Chats"])
