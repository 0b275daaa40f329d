"""What tenants do with groups: questions to the owner of the device.

A creation under an Idempotency-Key happens once. What became of it is remembered for a day; when that is not known, a
repeat is told so instead of making a second group.
"""

import contextlib
import hashlib
import re

import msgspec

from kurir.api.auth import Caller
from kurir.api.devices.service import Devices
from kurir.api.groups.schemas import ChangeMembers, GroupRights, NewGroup
from kurir.api.idempotency import IdempotencyKeys
from kurir.api.media.pictures import NewPicture, picture_in
from kurir.api.media.service import MediaStore
from kurir.api.people import group_in, person_in
from kurir.api.problems import Problem
from kurir.api.questions import Questions
from kurir.contracts import ids, queries
from kurir.contracts.content import Media
from kurir.contracts.groups import Group, MemberChanged
from kurir.contracts.queries import A, GroupPage, Question
from kurir.runtime.broker import PublishError

_CODE = re.compile(r"(?:https://)?(?:chat\.whatsapp\.com/)?(?:invite/)?([A-Za-z0-9_-]{4,64})(?:\?.*)?")
_IN_DOUBT = frozenset({"OUTCOME_UNKNOWN", "INTERNAL_ERROR"})

_encoder = msgspec.json.Encoder()


class Groups:
    """Everything here raises Problem as Devices.get and Questions.ask do, and about the field that is wrong."""

    def __init__(self, devices: Devices, questions: Questions, idempotency: IdempotencyKeys, media: MediaStore) -> None:
        self._devices = devices
        self._questions = questions
        self._idempotency = idempotency
        self._media = media

    async def page(self, caller: Caller, device_id: str, *, limit: int, cursor: str | None) -> GroupPage:
        """The groups that the device is in, by id."""
        device = self._devices.get(caller, device_id)
        after = group_in(cursor, "cursor") if cursor else None
        return await self._questions.ask(
            queries.ListGroups(tenant=device.tenant, device=device.id, after=after, limit=limit)
        )

    async def show(self, caller: Caller, device_id: str, group: str) -> Group:
        device = self._devices.get(caller, device_id)
        jid = group_in(group, "groupId")
        return await self._questions.ask(queries.ShowGroup(tenant=device.tenant, device=device.id, group=jid))

    async def create(self, caller: Caller, device_id: str, new: NewGroup, idempotency_key: str | None) -> Group:
        """Raises Problem OUTCOME_UNKNOWN when the group may or may not have been made, by this request or before."""
        device = self._devices.get(caller, device_id)
        question = queries.CreateGroup(
            tenant=device.tenant,
            device=device.id,
            id=ids.uuid7(),
            subject=new.subject,
            members=_people(new.members, caller),
        )
        if idempotency_key is None:
            return await self._questions.ask(question)
        digest = hashlib.sha256(b"NewGroup" + device.id.encode() + _encoder.encode(new)).hexdigest()
        remembered = await self._idempotency.remember(caller.tenant.id, idempotency_key, digest)
        if remembered.record.answer is not None:
            return msgspec.json.decode(remembered.record.answer, type=Group)
        question = msgspec.structs.replace(question, id=remembered.record.message_id, is_repeat=remembered.is_repeat)
        try:
            group = await self._questions.ask(question)
        except Problem as problem:
            if problem.code not in _IN_DOUBT and not remembered.is_repeat:
                # Nothing was made, so the next request under this key is a first one again.
                with contextlib.suppress(PublishError):
                    await self._idempotency.forget(remembered)
            raise
        await self._idempotency.accepted(remembered, answer=_encoder.encode(group).decode())
        return group

    async def change_members(
        self, caller: Caller, device_id: str, group: str, change: ChangeMembers
    ) -> tuple[MemberChanged, ...]:
        """What became of each of them, in WhatsApp's order."""
        device = self._devices.get(caller, device_id)
        question = queries.ChangeMembers(
            tenant=device.tenant,
            device=device.id,
            group=group_in(group, "groupId"),
            change=change.change,
            members=_people(change.members, caller),
        )
        return (await self._questions.ask(question)).members

    async def invite_link(self, caller: Caller, device_id: str, group: str, *, renew: bool) -> str:
        """With `renew` the former link ends."""
        device = self._devices.get(caller, device_id)
        jid = group_in(group, "groupId")
        kind = queries.RenewInviteLink if renew else queries.ShowInviteLink
        return (await self._questions.ask(kind(tenant=device.tenant, device=device.id, group=jid))).link

    async def set_subject(self, caller: Caller, device_id: str, group: str, subject: str) -> None:
        device = self._devices.get(caller, device_id)
        jid = group_in(group, "groupId")
        await self._questions.ask(
            queries.SetSubject(tenant=device.tenant, device=device.id, group=jid, subject=subject)
        )

    async def set_description(self, caller: Caller, device_id: str, group: str, description: str) -> None:
        device = self._devices.get(caller, device_id)
        jid = group_in(group, "groupId")
        await self._questions.ask(
            queries.SetDescription(tenant=device.tenant, device=device.id, group=jid, description=description)
        )

    async def set_rights(self, caller: Caller, device_id: str, group: str, rights: GroupRights) -> None:
        device = self._devices.get(caller, device_id)
        question = queries.SetGroupRights(
            tenant=device.tenant,
            device=device.id,
            group=group_in(group, "groupId"),
            is_announce=rights.is_announce,
            is_locked=rights.is_locked,
        )
        await self._questions.ask(question)

    async def set_disappearing(self, caller: Caller, device_id: str, group: str, seconds: int) -> None:
        """0 lets the group's messages stay."""
        device = self._devices.get(caller, device_id)
        jid = group_in(group, "groupId")
        await self._questions.ask(
            queries.SetDisappearing(tenant=device.tenant, device=device.id, group=jid, seconds=seconds)
        )

    async def set_picture(self, caller: Caller, device_id: str, group: str, new: NewPicture) -> None:
        device = self._devices.get(caller, device_id)
        jid = group_in(group, "groupId")
        async with picture_in(self._media, device.tenant, new) as picture:
            await self.set_stored_picture(caller, device_id, jid, picture)

    async def set_stored_picture(self, caller: Caller, device_id: str, group: str, picture: Media) -> None:
        """`picture` is in the media store already, `group` a JID."""
        device = self._devices.get(caller, device_id)
        await self._questions.ask(
            queries.SetGroupPicture(tenant=device.tenant, device=device.id, group=group, picture=picture)
        )

    async def leave(self, caller: Caller, device_id: str, group: str) -> None:
        device = self._devices.get(caller, device_id)
        jid = group_in(group, "groupId")
        await self._questions.ask(queries.LeaveGroup(tenant=device.tenant, device=device.id, group=jid))

    async def join(self, caller: Caller, device_id: str, link: str) -> str:
        """The id of the group that an invitation link leads to."""
        device = self._devices.get(caller, device_id)
        question = queries.JoinGroup(tenant=device.tenant, device=device.id, code=_code_in(link))
        return (await self._ask_of_link(question)).group

    async def invitation(self, caller: Caller, device_id: str, link: str) -> Group:
        """The group that an invitation link leads to, without joining it."""
        device = self._devices.get(caller, device_id)
        return await self._ask_of_link(
            queries.ShowInvitation(tenant=device.tenant, device=device.id, code=_code_in(link))
        )

    async def _ask_of_link(self, question: Question[A]) -> A:
        try:
            return await self._questions.ask(question)
        except Problem as problem:
            if problem.code != "INVALID_RECIPIENT":
                raise
            raise Problem("VALIDATION_ERROR", "This invitation link leads nowhere any more.", field="link") from None


def _code_in(link: str) -> str:
    """The code of an invitation link, or the code alone. Raises Problem."""
    found = _CODE.fullmatch(link.strip())
    if found is None:
        raise Problem("VALIDATION_ERROR", "This is no invitation link.", field="link")
    return found[1]


def _people(texts: tuple[str, ...], caller: Caller) -> tuple[str, ...]:
    return tuple(person_in(text, caller.tenant.country, f"members[{n}]") for n, text in enumerate(texts))
