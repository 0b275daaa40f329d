"""Groups: who is in them, what they are called, and what members are told about changes."""

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.support.whatsapp_emulator.accounts import Account, Device, Directory, picture_id
from tests.support.whatsapp_emulator.jid import GROUP_SERVER, Jid
from tests.support.whatsapp_emulator.post import Post, now
from tests.support.whatsapp_emulator.stanza import Stanza, Value, leaf, parent

ROLE_OF_OWNER = "superadmin"
ROLE_OF_ADMIN = "admin"
ROLE_OF_MEMBER = ""


class IqRefused(Exception):
    """An IQ is answered by an error of this code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text


@dataclass(eq=False, slots=True)
class Group:
    """Members are addressed by LID. `roles` has everyone who is in it."""

    jid: Jid
    subject: str
    owner: Account
    roles: dict[Account, str]
    description: str = ""
    description_id: str = ""
    description_at: int = 0
    invite_code: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    picture: bytes | None = None
    switches: set[str] = field(default_factory=set)
    created_at: int = field(default_factory=lambda: int(time.time()))

    def is_admin(self, account: Account) -> bool:
        return self.roles.get(account) in (ROLE_OF_OWNER, ROLE_OF_ADMIN)

    def devices(self) -> list[Device]:
        return [device for member in self.roles for device in member.devices.values()]

    def stanza(self) -> Stanza:
        children = [participant(member, role) for member, role in self.roles.items()]
        children += [Stanza(switch) for switch in sorted(self.switches)]
        if self.description:
            attributes: dict[str, Value] = {"id": self.description_id, "t": self.description_at}
            children.append(Stanza("description", attributes, [leaf("body", self.description)]))
        return parent(
            "group",
            children,
            id=self.jid.user,
            subject=self.subject,
            creation=self.created_at,
            creator=self.owner.lid,
            creator_pn=self.owner.pn,
            s_t=self.created_at,
            s_o=self.owner.lid,
            addressing_mode="lid",
            size=len(self.roles),
        )


def participant(account: Account, role: str = "") -> Stanza:
    return Stanza("participant", {"jid": account.lid, "phone_number": account.pn, "type": role or None})


class Groups:
    """All groups. Answers the IQs of xmlns "w:g2"."""

    def __init__(self, directory: Directory, post: Post) -> None:
        self._directory = directory
        self._post = post
        self.groups: dict[str, Group] = {}

    def find(self, jid: Jid) -> Group | None:
        return self.groups.get(jid.user) if jid.is_group else None

    def create(self, subject: str, owner: Account, others: Iterable[Account], *, by: Device | None = None) -> Group:
        """Make a group and tell the others. `by` is the device that asked for it and is told otherwise."""
        members = {owner: ROLE_OF_OWNER} | {account: ROLE_OF_MEMBER for account in others if account is not owner}
        group = Group(Jid(f"120363{secrets.randbelow(10**12):012d}", GROUP_SERVER), subject, owner, members)
        self.groups[group.jid.user] = group
        self._welcome(group, owner, [device for device in group.devices() if device is not by])
        return group

    def change(self, group: Group, author: Account, change: Stanza, *, by: Device | None = None) -> None:
        """Apply a change as it stands in an IQ: add, remove, promote, demote, subject, description, or a switch.

        Raises IqRefused when there is no such change or the author may not do it.
        """
        if author not in group.roles:
            raise IqRefused(403, "forbidden")
        if change.tag in _MEMBER_CHANGES:
            self._change_members(group, author, change, by)
        elif change.tag in ("subject", "description"):
            self._change_text(group, author, change, by)
        elif change.tag in _SWITCHES:
            switch, is_on = _SWITCHES[change.tag]
            (group.switches.add if is_on else group.switches.discard)(switch)
            self._tell(group, author, Stanza(change.tag, {"v_id": self._post.new_id()}), by)
        elif change.tag in ("ephemeral", "not_ephemeral"):
            lasting = Stanza("not_ephemeral") if change.get("expiration") in (None, "0") else change
            self._tell(group, author, lasting, by)
        else:
            raise IqRefused(501, "feature-not-implemented")

    def renew_link(self, group: Group, author: Account, *, by: Device | None = None) -> None:
        group.invite_code = secrets.token_urlsafe(16)
        self._tell(group, author, Stanza("invite", {"code": group.invite_code}), by)

    def set_picture(self, group: Group, author: Account, picture: bytes, *, by: Device | None = None) -> None:
        """Raises IqRefused for who may not change the group."""
        if author not in group.roles or ("locked" in group.switches and not group.is_admin(author)):
            raise IqRefused(403, "forbidden")
        group.picture = picture
        said: dict[str, Value] = {"jid": group.jid, "author": author.lid, "id": picture_id(picture), "hash": "emulator"}
        for device in group.devices():
            if device is not by:
                attributes: dict[str, Value] = {"from": group.jid, "type": "picture", "id": self._post.new_id()}
                self._post.deliver(device, Stanza("notification", attributes | {"t": now()}, [Stanza("set", said)]))

    def delete(self, group: Group, author: Account) -> None:
        """The group is no more."""
        self._tell(group, author, Stanza("delete", {"reason": "admin"}), None)
        del self.groups[group.jid.user]

    def leave(self, group: Group, member: Account, *, by: Device | None = None) -> None:
        self._tell(group, member, parent("remove", [participant(member)]), by)
        group.roles.pop(member, None)

    def join(self, group: Group, member: Account, *, by: Device | None = None) -> None:
        """By an invitation link."""
        group.roles.setdefault(member, ROLE_OF_MEMBER)
        self._tell(group, member, parent("add", [participant(member)], reason="invite"), by)

    # --- IQs --------------------------------------------------------------------------------------------------------

    def answer(self, device: Device, iq: Stanza) -> list[Stanza]:
        """Raises IqRefused."""
        asked = iq.children[0]
        to = iq.jid("to")
        me = device.account
        if asked.tag == "create":
            others = [a for a in (self._directory.find(p.jid("jid")) for p in asked.all("participant")) if a]
            return [self.create(asked.get("subject") or "", me, others, by=device).stanza()]
        if asked.tag == "participating":
            return [parent("groups", [group.stanza() for group in self.groups.values() if me in group.roles])]
        if asked.tag == "leave":
            for left in asked.all("group"):
                self.leave(self._known(left.jid("id")), me, by=device)
            return []
        if asked.tag == "invite" and asked.get("code"):
            return self._answer_invitation(device, iq.get("type") == "set", asked.get("code"))
        group = self._known(to)
        if me not in group.roles:
            raise IqRefused(403, "forbidden")
        if asked.tag == "query":
            return [group.stanza()]
        if asked.tag == "invite":
            if not group.is_admin(me):
                raise IqRefused(401, "not-authorized")
            if iq.get("type") == "set":
                self.renew_link(group, me, by=device)
            return [Stanza("invite", {"code": group.invite_code})]
        self.change(group, me, asked, by=device)
        if asked.tag in _MEMBER_CHANGES:
            concerned = [self._directory.find(p.jid("jid")) for p in asked.all("participant")]
            return [parent(asked.tag, [participant(a, group.roles.get(a, "")) for a in concerned if a])]
        return []

    def _answer_invitation(self, device: Device, joins: bool, code: str | None) -> list[Stanza]:
        group = next((group for group in self.groups.values() if group.invite_code == code), None)
        if group is None:
            raise IqRefused(406, "not-acceptable")
        if not joins:
            return [group.stanza()]
        self.join(group, device.account, by=device)
        return [Stanza("group", {"jid": group.jid})]

    def _known(self, jid: Jid) -> Group:
        group = self.find(jid)
        if group is None:
            raise IqRefused(404, "item-not-found")
        return group

    # --- changes ----------------------------------------------------------------------------------------------------

    def _change_members(self, group: Group, author: Account, change: Stanza, by: Device | None) -> None:
        if not group.is_admin(author):
            raise IqRefused(403, "forbidden")
        concerned = [a for a in (self._directory.find(p.jid("jid")) for p in change.all("participant")) if a]
        told = parent(change.tag, map(participant, concerned))
        if change.tag == "remove":
            self._tell(group, author, told, by)
        for account in concerned:
            _MEMBER_CHANGES[change.tag](group, account)
        if change.tag == "add":
            newcomers = [device for account in concerned for device in account.devices.values()]
            self._tell(group, author, told, by, besides=newcomers)
            self._welcome(group, author, newcomers)
        elif change.tag != "remove":
            self._tell(group, author, told, by)

    def _change_text(self, group: Group, author: Account, change: Stanza, by: Device | None) -> None:
        if change.tag == "subject":
            group.subject = change.data.decode()
            told = Stanza("subject", {"subject": group.subject, "s_t": now(), "s_o": author.lid})
        else:
            body = change.find("body")
            group.description = "" if body is None else body.data.decode()
            group.description_id = change.get("id") or self._post.new_id()
            group.description_at = now()
            content = Stanza("delete") if body is None else leaf("body", group.description)
            told = parent("description", [content], id=group.description_id)
        self._tell(group, author, told, by)

    def _welcome(self, group: Group, author: Account, devices: Iterable[Device]) -> None:
        created = parent("create", [group.stanza()], type="new", key=self._post.new_id())
        for device in devices:
            self._post.deliver(device, self._notification(group, author, created))

    def _tell(
        self, group: Group, author: Account, change: Stanza, by: Device | None, besides: Iterable[Device] = ()
    ) -> None:
        """Members hear of a change; `by` has the answer to its IQ instead."""
        untold = {by, *besides}
        for device in group.devices():
            if device not in untold:
                self._post.deliver(device, self._notification(group, author, change))

    def _notification(self, group: Group, author: Account, change: Stanza) -> Stanza:
        attributes: dict[str, Value] = {
            "from": group.jid,
            "type": "w:gp2",
            "id": self._post.new_id(),
            "t": now(),
            "participant": author.lid,
            "participant_pn": author.pn,
            "notify": author.name,
            "addressing_mode": "lid",
        }
        return Stanza("notification", attributes, [change])


def _add(group: Group, account: Account) -> None:
    group.roles.setdefault(account, ROLE_OF_MEMBER)


def _remove(group: Group, account: Account) -> None:
    group.roles.pop(account, None)


def _promote(group: Group, account: Account) -> None:
    if account in group.roles:
        group.roles[account] = group.roles[account] or ROLE_OF_ADMIN


def _demote(group: Group, account: Account) -> None:
    if account in group.roles:
        group.roles[account] = ROLE_OF_MEMBER


_MEMBER_CHANGES: dict[str, Callable[[Group, Account], None]] = {
    "add": _add,
    "remove": _remove,
    "promote": _promote,
    "demote": _demote,
}
_SWITCHES = {
    "announcement": ("announcement", True),
    "not_announcement": ("announcement", False),
    "locked": ("locked", True),
    "unlocked": ("locked", False),
}
