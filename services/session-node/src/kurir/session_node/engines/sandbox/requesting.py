"""What a sandbox session does besides sending: a small address book, groups that are kept, nobody who looks.

A question about a number or group with a scenario is answered by it: late, never, or with its refusal.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from kurir.contracts.content import MessageKey
from kurir.session_node.engines.observations import PresenceSeen, Seen
from kurir.session_node.engines.requests import (
    Group,
    KnownContact,
    MemberChange,
    MemberChanged,
    NumberCheck,
    Picture,
    RequestFailed,
    TypingState,
)
from kurir.session_node.engines.sandbox import contacts, groups
from kurir.session_node.engines.sandbox import scenario as scenarios
from kurir.session_node.engines.sandbox.contacts import Pace
from kurir.session_node.engines.sandbox.store import KeptGroup, Store

_ABOUT_QUESTIONS = frozenset({"group_left", "rate_overlimit", "engine_error"})
"""Why a question is refused too; the other reasons are about messages."""


class Requests:
    """`key` is tenant and device; `require_me` gives the JID that is connected now, or raises NotConnected; `tell`
    takes what follows from a question."""

    def __init__(
        self,
        key: tuple[str, str],
        store: Store,
        pace: Callable[[], Pace],
        now: Callable[[], datetime],
        require_me: Callable[[], str],
        tell: Callable[[Seen], None],
    ) -> None:
        self._key = key
        self._store = store
        self._pace = pace
        self._now = now
        self._require_me = require_me
        self._tell = tell
        self._asked_too_fast: set[str] = set()

    # --- presence and marks -----------------------------------------------------------------------------------------

    async def show_online(self, online: bool) -> None:
        self._require_me()

    async def show_typing(self, chat: str, state: TypingState) -> None:
        """The sandbox's contacts do not look."""
        await self.ask_about(chat)

    async def watch_presence(self, jid: str) -> None:
        """Whoever is watched is online, but whose phone is off."""
        await self.ask_about(jid)
        is_off = scenarios.scenario_of(jid).name == "phone_off"
        who = contacts.address(jid)
        self._tell(
            PresenceSeen(
                chat=who,
                sender=who,
                presence="unavailable" if is_off else "available",
                last_seen=self._now() - timedelta(days=1) if is_off else None,
                at=self._now(),
            )
        )

    async def mark_read(self, keys: tuple[MessageKey, ...], played: bool) -> None:
        self._require_me()

    # --- people -----------------------------------------------------------------------------------------------------

    async def check_numbers(self, phones: tuple[str, ...]) -> tuple[NumberCheck, ...]:
        """Every number has WhatsApp, but those of the scenario that says otherwise."""
        self._require_me()
        return tuple(contacts.check(phone) for phone in phones)

    async def profile_picture(self, jid: str) -> Picture | None:
        await self.ask_about(jid)
        if jid == self._require_me():
            return contacts.picture(jid, self._store.account(*self._key).picture)
        kept = next((kept for kept in self._store.groups(*self._key) if kept.group.jid == jid), None)
        return contacts.picture(jid, kept.picture if kept is not None else None)

    async def contacts(self) -> tuple[KnownContact, ...]:
        self._require_me()
        return contacts.ADDRESS_BOOK

    # --- groups -----------------------------------------------------------------------------------------------------

    async def groups(self) -> tuple[Group, ...]:
        self._require_me()
        return tuple(kept.group for kept in self._store.groups(*self._key))

    async def group(self, jid: str) -> Group:
        return (await self._known(jid)).group

    async def create_group(self, subject: str, members: tuple[str, ...]) -> Group:
        me = self._require_me()
        for member in members:
            await self.ask_about(member, refusals=False)
        kept = groups.created(subject, me, members, self._now())
        self._store.keep_group(*self._key, kept)
        return kept.group

    async def change_members(
        self, jid: str, change: MemberChange, members: tuple[str, ...]
    ) -> tuple[MemberChanged, ...]:
        kept = await self._administered(jid)
        kept, told = groups.changed(kept, change, members)
        self._store.keep_group(*self._key, kept)
        return told

    async def invite_link(self, jid: str, renew: bool) -> str:
        kept = await self._administered(jid)
        if renew:
            kept = msgspec.structs.replace(kept, invite_code=groups.new_code())
            self._store.keep_group(*self._key, kept)
        return groups.LINK + kept.invite_code

    async def set_subject(self, jid: str, subject: str) -> None:
        await self._rewrite(jid, subject=subject)

    async def set_description(self, jid: str, description: str) -> None:
        await self._rewrite(jid, description=description or None)

    async def set_group_rights(self, jid: str, is_announce: bool | None, is_locked: bool | None) -> None:
        kept = await self._administered(jid)
        rights = {"is_announce": is_announce, "is_locked": is_locked}
        given = {name: value for name, value in rights.items() if value is not None}
        self._store.keep_group(
            *self._key, msgspec.structs.replace(kept, group=msgspec.structs.replace(kept.group, **given))
        )

    async def set_disappearing(self, jid: str, seconds: int) -> None:
        """Messages to contacts that do not exist cannot disappear: it is only judged who asks."""
        await self._administered(jid)

    async def set_group_picture(self, jid: str, picture: bytes) -> None:
        kept = await self._changeable(jid)
        self._store.keep_group(*self._key, msgspec.structs.replace(kept, picture=contacts.picture_id(picture)))

    async def leave_group(self, jid: str) -> None:
        await self._known(jid)
        self._store.drop_group(*self._key, jid)

    async def join_group(self, code: str) -> str:
        me = self._require_me()
        own = next((kept for kept in self._store.groups(*self._key) if kept.invite_code == code), None)
        if own is None:
            own = groups.joined(code, me, self._now())
            self._store.keep_group(*self._key, own)
        return own.group.jid

    async def invitation(self, code: str) -> Group:
        me = self._require_me()
        own = next((kept for kept in self._store.groups(*self._key) if kept.invite_code == code), None)
        if own is not None:
            return own.group
        group = groups.joined(code, me, self._now()).group
        others = tuple(member for member in group.members if member.address.jid != me)
        return msgspec.structs.replace(group, members=others)

    # ----------------------------------------------------------------------------------------------------------------

    async def ask_about(self, jid: str, *, refusals: bool = True) -> None:
        """Do with a question about `jid` what its scenario says. Raises RequestFailed or NotConnected."""
        self._require_me()
        if not scenarios.is_recipient(jid):
            raise RequestFailed("invalid_recipient", jid)
        scenario = scenarios.scenario_of(jid)
        if scenario.slow:
            await asyncio.sleep(self._pace().slow_s)
        elif scenario.unknown:
            await asyncio.sleep(self._pace().timeout_s)
            raise RequestFailed("server_unavailable", scenario.summary, 30.0)
        elif refusals and scenario.fails in _ABOUT_QUESTIONS:
            if scenario.times is not None and jid in self._asked_too_fast:
                return
            self._asked_too_fast.add(jid)
            raise RequestFailed(scenario.fails, scenario.summary, scenario.retry_after_s)
        self._require_me()

    async def _known(self, jid: str) -> KeptGroup:
        await self.ask_about(jid)
        kept = next((kept for kept in self._store.groups(*self._key) if kept.group.jid == jid), None)
        if kept is None:
            raise RequestFailed("group_left", "the device is in no such group")
        return kept

    async def _administered(self, jid: str) -> KeptGroup:
        kept = await self._known(jid)
        if kept.role_of(self._require_me()) not in ("admin", "owner"):
            raise RequestFailed("not_allowed", "only admins may do that")
        return kept

    async def _changeable(self, jid: str) -> KeptGroup:
        """Raises RequestFailed where only admins may change what the group is called and looks like."""
        kept = await self._known(jid)
        return await self._administered(jid) if kept.group.is_locked else kept

    async def _rewrite(self, jid: str, **facts: str | None) -> None:
        kept = await self._changeable(jid)
        self._store.keep_group(
            *self._key, msgspec.structs.replace(kept, group=msgspec.structs.replace(kept.group, **facts))
        )
