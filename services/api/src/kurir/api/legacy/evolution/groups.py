"""`/group/…`: groups of an instance."""

from collections.abc import AsyncIterator

from kurir.api.groups.schemas import ChangeMembers, GroupRights, NewGroup
from kurir.api.legacy.evolution.calls import MAX_BASE64_BYTES, Answer, Call, native_picture
from kurir.api.legacy.evolution.chats import picture_of
from kurir.api.legacy.evolution.messages import sent_of
from kurir.api.media.pictures import picture_in
from kurir.api.problems import Problem
from kurir.contracts.content import Text
from kurir.contracts.groups import Group, GroupHead
from kurir.contracts.queries import PAGE_LIMIT
from kurir.contracts.records import Device
from kurir.dialects.evolution import group_answers, group_requests, pictures
from kurir.dialects.evolution.group_requests import GroupSetting
from kurir.dialects.orders import Order

MAX_GROUPS = 10_000

_RIGHTS: dict[GroupSetting, GroupRights] = {
    "announcement": GroupRights(is_announce=True),
    "not_announcement": GroupRights(is_announce=False),
    "locked": GroupRights(is_locked=True),
    "unlocked": GroupRights(is_locked=False),
}


async def create(call: Call) -> Answer:
    """Make a group, described and with its members as admins where that is asked for.

    Its picture is looked at before: who is told that it is wrong asks again, and would get a second group.
    """
    device = call.device
    async with call.body(max_bytes=MAX_BASE64_BYTES) as body:
        new = group_requests.new_group(body.fields)
    if new.picture is None:
        group = await _made(call, device, new)
    else:
        async with picture_in(call.services.media, device.tenant, native_picture(new.picture)) as picture:
            group = await _made(call, device, new)
            await call.services.groups.set_stored_picture(call.caller, device.id, group.jid, picture)
    return Answer(201, group_answers.group(group))


async def _made(call: Call, device: Device, new: group_requests.NewGroup) -> Group:
    groups = call.services.groups
    group = await groups.create(call.caller, device.id, NewGroup(subject=new.subject, members=new.participants), None)
    if new.description is not None:
        await groups.set_description(call.caller, device.id, group.jid, new.description)
    members = tuple(one.address.pn or one.address.jid for one in group.members if one.role == "member")
    if new.promote and members:
        change = ChangeMembers(change="promote", members=members)
        await groups.change_members(call.caller, device.id, group.jid, change)
    if new.description is not None or new.promote:
        group = await groups.show(call.caller, device.id, group.jid)
    return group


async def set_subject(call: Call) -> Answer:
    device, fields = call.device, await call.fields()
    group = group_requests.group_of(call.query, fields)
    await call.services.groups.set_subject(call.caller, device.id, group, group_requests.subject(fields))
    return Answer(201, group_answers.DONE)


async def set_description(call: Call) -> Answer:
    device, fields = call.device, await call.fields()
    group = group_requests.group_of(call.query, fields)
    await call.services.groups.set_description(call.caller, device.id, group, group_requests.description(fields))
    return Answer(201, group_answers.DONE)


async def set_picture(call: Call) -> Answer:
    device = call.device
    async with call.body(max_bytes=MAX_BASE64_BYTES) as body:
        group = group_requests.group_of(call.query, body.fields)
        picture = pictures.picture(body.fields, "image")
    await call.services.groups.set_picture(call.caller, device.id, group, native_picture(picture))
    return Answer(201, group_answers.DONE)


async def show(call: Call) -> Answer:
    device = call.device
    group = await call.services.groups.show(call.caller, device.id, group_requests.group_of(call.query, {}))
    return Answer(200, group_answers.group(group, picture=await picture_of(call, device, group.jid)))


async def show_all(call: Call) -> Answer:
    """All groups; with their members each is asked for by itself, which takes its time."""
    device = call.device
    with_members = group_requests.wants_participants(call.query)
    found = []
    async for head in _heads(call, device):
        if not with_members:
            found.append(group_answers.group_head(head))
            continue
        try:
            found.append(group_answers.group(await call.services.groups.show(call.caller, device.id, head.jid)))
        except Problem as problem:
            if problem.code != "GROUP_NOT_FOUND":  # left meanwhile
                raise
    return Answer(200, found)


async def show_members(call: Call) -> Answer:
    device = call.device
    group = await call.services.groups.show(call.caller, device.id, group_requests.group_of(call.query, {}))
    return Answer(200, group_answers.members(group))


async def show_invite(call: Call) -> Answer:
    device, group = call.device, group_requests.group_of(call.query, {})
    link = await call.services.groups.invite_link(call.caller, device.id, group, renew=False)
    return Answer(200, group_answers.invite(link))


async def renew_invite(call: Call) -> Answer:
    device = call.device
    group = group_requests.group_of(call.query, await call.fields())
    link = await call.services.groups.invite_link(call.caller, device.id, group, renew=True)
    return Answer(201, group_answers.revoked(link))


async def send_invite(call: Call) -> Answer:
    """The invitation's link with a text before it, to each of the numbers."""
    device = call.device
    wanted = group_requests.invitation(await call.fields())
    link = await call.services.groups.invite_link(call.caller, device.id, wanted.group, renew=False)
    text = f"{wanted.description}\n\n{group_answers.invite(link)['inviteUrl']}".strip()
    for number in wanted.numbers:
        await sent_of(call, device, Order(to=number, content=Text(text=text, link_preview=True)), number=number)
    return Answer(200, group_answers.invitation_sent(link))


async def show_invited(call: Call) -> Answer:
    device = call.device
    code = group_requests.invite_code(call.query, {})
    return Answer(200, group_answers.group(await call.services.groups.invitation(call.caller, device.id, code)))


async def join(call: Call) -> Answer:
    device = call.device
    code = group_requests.invite_code(call.query, {})
    return Answer(200, group_answers.joined(await call.services.groups.join(call.caller, device.id, code)))


async def change_members(call: Call) -> Answer:
    device, fields = call.device, await call.fields()
    group = group_requests.group_of(call.query, fields)
    wanted = group_requests.members_change(fields)
    change = ChangeMembers(change=wanted.change, members=wanted.participants)
    changed = await call.services.groups.change_members(call.caller, device.id, group, change)
    return Answer(201, group_answers.members_changed(changed))


async def set_setting(call: Call) -> Answer:
    device, fields = call.device, await call.fields()
    group = group_requests.group_of(call.query, fields)
    setting = group_requests.group_setting(fields)
    await call.services.groups.set_rights(call.caller, device.id, group, _RIGHTS[setting])
    return Answer(201, group_answers.setting_set(setting))


async def set_expiration(call: Call) -> Answer:
    device, fields = call.device, await call.fields()
    group = group_requests.group_of(call.query, fields)
    seconds = group_requests.expiration(fields)
    await call.services.groups.set_disappearing(call.caller, device.id, group, seconds)
    return Answer(201, group_answers.EPHEMERAL_SET)


async def leave(call: Call) -> Answer:
    device = call.device
    group = group_requests.group_of(call.query, await call.fields())
    await call.services.groups.leave(call.caller, device.id, group)
    return Answer(200, group_answers.left(group))


async def _heads(call: Call, device: Device) -> AsyncIterator[GroupHead]:
    cursor, read = None, 0
    while read < MAX_GROUPS:
        page = await call.services.groups.page(call.caller, device.id, limit=PAGE_LIMIT, cursor=cursor)
        for head in page.groups:
            yield head
        read += PAGE_LIMIT
        cursor = page.next
        if cursor is None:
            return
