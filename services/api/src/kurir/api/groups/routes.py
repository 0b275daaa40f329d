"""`/devices/{id}/groups`: the groups that a device is in."""

from typing import Annotated

from litestar import Router, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter

from kurir.api.auth import Caller
from kurir.api.groups.schemas import (
    ChangeMembers,
    Disappearing,
    GroupId,
    GroupPageView,
    GroupRights,
    GroupView,
    InviteLinkView,
    JoinGroup,
    MemberChangedView,
    NewDescription,
    NewGroup,
    NewSubject,
    changed_view_of,
    page_view_of,
    view_of,
)
from kurir.api.groups.service import Groups
from kurir.api.media.pictures import MAX_BODY_BYTES, NewPicture
from kurir.contracts.queries import PAGE_LIMIT

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(name="Idempotency-Key", description="The same key and body is the same group, for 24 hours."),
]


@get("/")
async def list_groups(
    device_id: FromPath[str],
    caller: NamedDependency[Caller],
    groups: NamedDependency[Groups],
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_LIMIT)] = 100,
    cursor: Annotated[str | None, QueryParameter(description="`next` of the page before")] = None,
) -> GroupPageView:
    """The groups that the device is in, without their members."""
    return page_view_of(await groups.page(caller, device_id, limit=limit, cursor=cursor))


@post("/")
async def create_group(
    device_id: FromPath[str],
    data: JSONBody[NewGroup],
    caller: NamedDependency[Caller],
    groups: NamedDependency[Groups],
    idempotency_key: IdempotencyKey = None,
) -> GroupView:
    """Make a group. With an `Idempotency-Key` a repeated request makes no second one."""
    return view_of(await groups.create(caller, device_id, data, idempotency_key))


@post("/join", status_code=200)
async def join_group(
    device_id: FromPath[str],
    data: JSONBody[JoinGroup],
    caller: NamedDependency[Caller],
    groups: NamedDependency[Groups],
) -> GroupId:
    """Join a group by its invitation link. Where admins admit members, the device waits for them."""
    return GroupId(id=await groups.join(caller, device_id, data.link))


@get("/invitations/{code:str}")
async def show_invitation(
    device_id: FromPath[str], code: FromPath[str], caller: NamedDependency[Caller], groups: NamedDependency[Groups]
) -> GroupView:
    """The group that an invitation leads to, by the last part of its link: what WhatsApp tells before one joins."""
    return view_of(await groups.invitation(caller, device_id, code))


@get("/{group_id:str}")
async def show_group(
    device_id: FromPath[str], group_id: FromPath[str], caller: NamedDependency[Caller], groups: NamedDependency[Groups]
) -> GroupView:
    """One group with its members."""
    return view_of(await groups.show(caller, device_id, group_id))


@delete("/{group_id:str}")
async def leave_group(
    device_id: FromPath[str], group_id: FromPath[str], caller: NamedDependency[Caller], groups: NamedDependency[Groups]
) -> None:
    """Leave a group."""
    await groups.leave(caller, device_id, group_id)


@post("/{group_id:str}/members", status_code=200)
async def change_members(
    device_id: FromPath[str],
    group_id: FromPath[str],
    data: JSONBody[ChangeMembers],
    caller: NamedDependency[Caller],
    groups: NamedDependency[Groups],
) -> list[MemberChangedView]:
    """Add or remove members, make them admins or members again. Each is answered for itself."""
    return [changed_view_of(one) for one in await groups.change_members(caller, device_id, group_id, data)]


@get("/{group_id:str}/invite-link")
async def show_invite_link(
    device_id: FromPath[str], group_id: FromPath[str], caller: NamedDependency[Caller], groups: NamedDependency[Groups]
) -> InviteLinkView:
    """The link by which others join. For admins."""
    return InviteLinkView(link=await groups.invite_link(caller, device_id, group_id, renew=False))


@post("/{group_id:str}/invite-link", status_code=200)
async def renew_invite_link(
    device_id: FromPath[str], group_id: FromPath[str], caller: NamedDependency[Caller], groups: NamedDependency[Groups]
) -> InviteLinkView:
    """End the link and make another one. For admins."""
    return InviteLinkView(link=await groups.invite_link(caller, device_id, group_id, renew=True))


@put("/{group_id:str}/subject", status_code=204)
async def set_group_subject(
    device_id: FromPath[str],
    group_id: FromPath[str],
    data: JSONBody[NewSubject],
    caller: NamedDependency[Caller],
    groups: NamedDependency[Groups],
) -> None:
    """Rename a group."""
    await groups.set_subject(caller, device_id, group_id, data.subject)


@put("/{group_id:str}/description", status_code=204)
async def set_group_description(
    device_id: FromPath[str],
    group_id: FromPath[str],
    data: JSONBody[NewDescription],
    caller: NamedDependency[Caller],
    groups: NamedDependency[Groups],
) -> None:
    """Describe a group; an empty description takes it away."""
    await groups.set_description(caller, device_id, group_id, data.description)


@put("/{group_id:str}/rights", status_code=204)
async def set_group_rights(
    device_id: FromPath[str],
    group_id: FromPath[str],
    data: JSONBody[GroupRights],
    caller: NamedDependency[Caller],
    groups: NamedDependency[Groups],
) -> None:
    """Say whether only admins write, and whether only they change subject and description. For admins."""
    await groups.set_rights(caller, device_id, group_id, data)


@put("/{group_id:str}/disappearing", status_code=204)
async def set_disappearing(
    device_id: FromPath[str],
    group_id: FromPath[str],
    data: JSONBody[Disappearing],
    caller: NamedDependency[Caller],
    groups: NamedDependency[Groups],
) -> None:
    """Let a group's new messages disappear after a time, or stay. For admins."""
    await groups.set_disappearing(caller, device_id, group_id, data.seconds)


@put("/{group_id:str}/picture", status_code=204, request_max_body_size=MAX_BODY_BYTES)
async def set_group_picture(
    device_id: FromPath[str],
    group_id: FromPath[str],
    data: JSONBody[NewPicture],
    caller: NamedDependency[Caller],
    groups: NamedDependency[Groups],
) -> None:
    """Give a group another picture."""
    await groups.set_picture(caller, device_id, group_id, data)


routes = (
    list_groups,
    create_group,
    join_group,
    show_invitation,
    show_group,
    leave_group,
    change_members,
    show_invite_link,
    renew_invite_link,
    set_group_subject,
    set_group_description,
    set_group_rights,
    set_disappearing,
    set_group_picture,
)


def router() -> Router:
    return Router("/devices/{device_id:str}/groups", route_handlers=routes, tags=["Groups"])
