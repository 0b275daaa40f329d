"""The dashboard's own paths, `/api/send-media` and `wa-groups`, and its half of the two that another API has too."""

from typing import Any

from litestar import Request, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from kurir.api.auth import Caller
from kurir.api.groups.service import Groups
from kurir.api.legacy.access import Access, credential
from kurir.api.legacy.bodies import reading
from kurir.api.legacy.fonnte import telling
from kurir.api.legacy.sending import Sender, Sent
from kurir.api.media.service import MediaStore
from kurir.contracts.queries import PAGE_LIMIT
from kurir.contracts.records import Device
from kurir.dialects.fonnte import answers, errors, requests
from kurir.dialects.fonnte.errors import Refused
from kurir.dialects.orders import Order

SENT_WITHIN_S = 15.0  # a video is converted in that time; the end of a service leaves requests 20 s
MAX_PAGES = 10


async def send_text(caller: Caller, fields: dict[str, Any], access: Access, sender: Sender) -> dict[str, Any]:
    """`POST /api/send-message`, whose path is shared with another API. Raises Refused or Problem."""
    return _dispatched("Message", await _send(caller, requests.to_and_message(fields), access, sender))


@post("/api/send-media", status_code=200)
async def send_media(
    request: Request[Any, Any, Any],
    access: NamedDependency[Access],
    sender: NamedDependency[Sender],
    media: NamedDependency[MediaStore],
) -> dict[str, Any]:
    caller = await access.caller(credential(request.scope["headers"], "Authorization", "X-API-Key"))
    async with reading(request, media, caller.tenant.id) as body:
        order, kind = requests.to_and_media(body.fields)
        return _dispatched(f"{kind} message", await _send(caller, order, access, sender))


@get("/api/devices/{device_id:str}/wa-groups")
async def list_groups(
    request: Request[Any, Any, Any],
    device_id: FromPath[str],
    access: NamedDependency[Access],
    groups: NamedDependency[Groups],
) -> dict[str, Any]:
    caller = await access.caller(credential(request.scope["headers"], "Authorization", "X-API-Key"))
    return answers.wa_groups(await all_groups(caller, access.device(caller, device_id), groups))


async def all_groups(caller: Caller, device: Device, groups: Groups) -> list[tuple[str, str]]:
    """Ids and names of the groups that a device is in. Raises Problem."""
    found: list[tuple[str, str]] = []
    cursor = None
    for _ in range(MAX_PAGES):
        page = await groups.page(caller, device.id, limit=PAGE_LIMIT, cursor=cursor)
        found += [(group.jid, group.subject) for group in page.groups]
        if (cursor := page.next) is None:
            break
    return found


async def _send(caller: Caller, order: Order, access: Access, sender: Sender) -> Sent:
    sent = await sender.send(
        caller,
        access.device(caller),
        order,
        refuse_offline=caller.key.options.when_offline != "queue",
        wait_s=SENT_WITHIN_S,
        is_limited=False,
    )
    if sent.outcome is not None and sent.status != "sent":
        raise errors.not_sent(sent.reason)
    return sent


def _dispatched(what: str, sent: Sent) -> dict[str, Any]:
    """A message whose outcome is not known yet is named by our id."""
    at = int(sent.at.timestamp())
    return answers.dispatched(what, sent.whatsapp_id or sent.id, answers.recipient(sent.to), at)


def routers() -> list[Router]:
    return [
        Router(
            "/",
            route_handlers=[send_media],
            exception_handlers={Refused: telling.tell_dashboard},
            include_in_schema=False,
        ),
        Router(
            "/",
            route_handlers=[list_groups],
            exception_handlers={Exception: telling.tell_dashboard_of_groups},
            include_in_schema=False,
        ),
    ]
