"""Groups of the sandbox: what changes mean, by WhatsApp's rules. Pure; `store` keeps them.

Who is added or has a scenario behaves by the digits of the number: one without WhatsApp is not there (404), one that
refuses lets nobody add him (403).
"""

import hashlib
import random
from datetime import datetime

import msgspec

from kurir.session_node.engines.requests import Group, GroupMember, MemberChange, MemberChanged, RequestFailed
from kurir.session_node.engines.sandbox import contacts
from kurir.session_node.engines.sandbox import scenario as scenarios
from kurir.session_node.engines.sandbox.store import KeptGroup

LINK = "https://chat.whatsapp.com/"

_CODE_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
_SHORTEST_CODE = 8
_REFUSES, _ABSENT, _PRESENT = 403, 404, 409


def created(subject: str, me: str, members: tuple[str, ...], now: datetime) -> KeptGroup:
    """A new group that `me` owns, with those members who can be added."""
    owner = GroupMember(address=contacts.address(me), role="owner")
    others = [jid for jid in dict.fromkeys(members) if jid != me and _error_of(jid) is None]
    group = Group(
        jid=f"120363{random.randrange(10**12):012d}@g.us",
        subject=subject,
        owner=owner.address,
        created_at=now,
        members=(owner, *(GroupMember(address=contacts.address(jid)) for jid in others)),
    )
    return KeptGroup(group=group, invite_code=new_code())


def joined(code: str, me: str, now: datetime) -> KeptGroup:
    """The group of other people that a code leads to, always the same one. Raises RequestFailed for what is no code."""
    if len(code) < _SHORTEST_CODE or not code.isalnum():
        raise RequestFailed("invalid_recipient", "that group invite link is not valid")
    number = int.from_bytes(hashlib.sha256(code.encode()).digest()[:5], "big") % 10**12
    first, *others = contacts.GROUP_MEMBERS
    members = (
        GroupMember(address=first, role="owner"),
        *(GroupMember(address=address) for address in (*others, contacts.address(me))),
    )
    group = Group(
        jid=f"120363{number:012d}@g.us", subject=f"Group {code[:4]}", owner=first, created_at=now, members=members
    )
    return KeptGroup(group=group, invite_code=code)


def changed(
    kept: KeptGroup, change: MemberChange, jids: tuple[str, ...]
) -> tuple[KeptGroup, tuple[MemberChanged, ...]]:
    """The group after a change of its members, and what became of each."""
    members = {member.address.jid: member for member in kept.group.members}
    told = []
    for jid in jids:
        error = _refusal(members, change, jid)
        told.append(MemberChanged(address=contacts.address(jid), error=error))
        if error is not None:
            continue
        if change == "remove":
            del members[jid]
        else:
            role = "admin" if change == "promote" else "member"
            members[jid] = GroupMember(address=contacts.address(jid), role=role)  # type: ignore[arg-type]
    group = msgspec.structs.replace(kept.group, members=tuple(members.values()))
    return msgspec.structs.replace(kept, group=group), tuple(told)


def new_code() -> str:
    return "".join(random.choices(_CODE_ALPHABET, k=22))


def _refusal(members: dict[str, GroupMember], change: MemberChange, jid: str) -> int | None:
    if change == "add":
        return _PRESENT if jid in members else _error_of(jid)
    if jid not in members:
        return _ABSENT
    return _REFUSES if members[jid].role == "owner" else None


def _error_of(jid: str) -> int | None:
    fails = scenarios.scenario_of(jid).fails
    return {"not_on_whatsapp": _ABSENT, "engine_error": _REFUSES}.get(fails or "")
