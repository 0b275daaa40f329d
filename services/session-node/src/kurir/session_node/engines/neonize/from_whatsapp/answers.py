"""What the library answers to requests, as the structs of contracts."""

import re
from datetime import UTC, datetime

from msgspec import Struct
from neonize.proto import Neonize_pb2 as neonize

from kurir.contracts.content import Address
from kurir.contracts.people import Privacy, PrivacyLevel
from kurir.contracts.states import Reason
from kurir.session_node.engines.engine import NotConnected, SendFailed
from kurir.session_node.engines.neonize.from_whatsapp.groups import group_of, member_address
from kurir.session_node.engines.neonize.from_whatsapp.sends import send_failure
from kurir.session_node.engines.neonize.from_whatsapp.who import address, jid_text
from kurir.session_node.engines.requests import (
    Group,
    KnownContact,
    MemberChanged,
    NumberCheck,
    Picture,
    RequestFailed,
)


def timestamp_now() -> int:
    """Seconds, as the library takes them."""
    return int(datetime.now(UTC).timestamp())


# Texts of whatsmeow's errors (errors.go, group.go, request.go) that mean something else for a request than for a send.
_REFUSALS: tuple[tuple[str, Reason], ...] = (
    (r"that group does not exist|status 404|item-not-found", "group_left"),
    (r"group invite link (?:is not valid|has been revoked)", "invalid_recipient"),
    (r"not a valid image", "media_refused"),
    (r"context (?:canceled|deadline exceeded)", "server_unavailable"),
    (r"don't have the permission|status 40[13]|not-authorized|forbidden", "not_allowed"),
)


def require_done(error: str) -> None:
    """Raises RequestFailed or NotConnected by the library's error text, if there is one."""
    if not error:
        return
    for pattern, reason in _REFUSALS:
        if re.search(pattern, error):
            raise RequestFailed(reason, error)
    failure = send_failure(error)
    if isinstance(failure, SendFailed):
        raise RequestFailed(failure.reason, failure.detail, failure.retry_after_s)
    raise failure if isinstance(failure, NotConnected) else RequestFailed("server_unavailable", error, 30.0)


def number_checks(answer: bytes) -> list[NumberCheck]:
    """Raises RequestFailed or NotConnected."""
    result = neonize.IsOnWhatsAppReturnFunction.FromString(answer)
    require_done(result.Error)
    return [
        NumberCheck(
            phone=found.Query.lstrip("+").partition("@")[0],
            is_on_whatsapp=found.IsIn,
            address=address(found.JID) if found.IsIn else None,
        )
        for found in result.IsOnWhatsAppResponse
    ]


def picture(answer: bytes) -> Picture | None:
    """Raises RequestFailed or NotConnected."""
    result = neonize.GetProfilePictureReturnFunction.FromString(answer)
    if re.search(r"does not have a profile picture|hidden|item-not-found|not-authorized|40[14]", result.Error):
        return None
    require_done(result.Error)
    return Picture(id=result.Picture.ID, url=result.Picture.URL)


def contacts(answer: bytes) -> list[KnownContact]:
    """Raises RequestFailed or NotConnected."""
    result = neonize.ContactsGetAllContactsReturnFunction.FromString(answer)
    require_done(result.Error)
    return [
        KnownContact(
            address=address(found.JID),
            name=found.Info.FullName or found.Info.FirstName or None,
            push_name=found.Info.PushName or None,
            business_name=found.Info.BusinessName or None,
        )
        for found in result.Contact
    ]


class StatusSetting(Struct, frozen=True, kw_only=True):
    """Who sees an account's status updates: `only` these, or all contacts with a name but `never` those."""

    only: frozenset[str] | None = None
    never: frozenset[str] = frozenset()

    def shown_to(self, contacts: list[KnownContact]) -> frozenset[str]:
        """As the library has it."""
        if self.only is not None:
            return self.only
        return frozenset(each.address.jid for each in contacts if each.name) - self.never


def status_setting(answer: bytes) -> StatusSetting:
    """Raises RequestFailed or NotConnected."""
    result = neonize.GetStatusPrivacyReturnFunction.FromString(answer)
    require_done(result.Error)
    setting = result.StatusPrivacy[0]
    listed = frozenset(str(jid_text(jid)) for jid in setting.List)
    if setting.Type == neonize.StatusPrivacy.WHITELIST:
        return StatusSetting(only=listed)
    return StatusSetting(never=listed if setting.Type == neonize.StatusPrivacy.BLACKLIST else frozenset())


def groups(answer: bytes) -> tuple[Group, ...]:
    """Raises RequestFailed or NotConnected."""
    result = neonize.GetJoinedGroupsReturnFunction.FromString(answer)
    require_done(result.Error)
    return tuple(map(group_of, result.Group))


def group(answer: bytes) -> Group:
    """Raises RequestFailed or NotConnected."""
    result = neonize.GetGroupInfoReturnFunction.FromString(answer)
    require_done(result.Error)
    return group_of(result.GroupInfo)


def members_changed(answer: bytes) -> tuple[MemberChanged, ...]:
    """Raises RequestFailed or NotConnected."""
    result = neonize.UpdateGroupParticipantsReturnFunction.FromString(answer)
    require_done(result.Error)
    return tuple(MemberChanged(address=member_address(each), error=each.Error or None) for each in result.participants)


def joined_group(answer: bytes) -> str:
    """The JID of the group. Raises RequestFailed or NotConnected."""
    result = neonize.JoinGroupWithLinkReturnFunction.FromString(answer)
    require_done(result.Error)
    return str(jid_text(result.Jid))


def require_picture_set(answer: bytes) -> None:
    """Raises RequestFailed or NotConnected."""
    require_done(neonize.SetGroupPhotoReturnFunction.FromString(answer).Error)


def about(answer: bytes) -> str | None:
    """Of the one person who was asked about. Raises RequestFailed or NotConnected."""
    result = neonize.GetUserInfoReturnFunction.FromString(answer)
    require_done(result.Error)
    return next((one.UserInfo.Status for one in result.UsersInfo if one.UserInfo.Status), None)


_LEVELS: dict[int, PrivacyLevel] = {
    neonize.PrivacySettings.ALL: "all",
    neonize.PrivacySettings.CONTACTS: "contacts",
    neonize.PrivacySettings.CONTACT_BLACKLIST: "contacts_except",
    neonize.PrivacySettings.MATCH_LAST_SEEN: "match_last_seen",
    neonize.PrivacySettings.KNOWN: "known",
    neonize.PrivacySettings.NONE: "none",
}


def privacy(answer: bytes) -> Privacy:
    """Raises RequestFailed: the library answers nothing at all where it could not ask."""
    found = neonize.PrivacySettings.FromString(answer)
    told = Privacy(
        last_seen=_LEVELS.get(found.LastSeen),
        online=_LEVELS.get(found.Online),
        profile_picture=_LEVELS.get(found.Profile),
        about=_LEVELS.get(found.Status),
        read_receipts=_LEVELS.get(found.ReadReceipts),
        groups=_LEVELS.get(found.GroupAdd),
        calls=_LEVELS.get(found.CallAdd),
    )
    if told == Privacy():
        raise RequestFailed("server_unavailable", "WhatsApp did not tell the privacy settings", 30.0)
    return told


def require_privacy_set(answer: bytes) -> None:
    """Raises RequestFailed or NotConnected."""
    require_done(neonize.SetPrivacySettingReturnFunction.FromString(answer).Error)


def blocked(answer: bytes) -> tuple[Address, ...]:
    """Raises RequestFailed or NotConnected."""
    result = neonize.GetBlocklistReturnFunction.FromString(answer)
    require_done(result.Error)
    return tuple(map(address, result.Blocklist.JIDs))


def invite_link(answer: bytes) -> str:
    """Raises RequestFailed or NotConnected."""
    result = neonize.GetGroupInviteLinkReturnFunction.FromString(answer)
    require_done(result.Error)
    return str(result.InviteLink)
