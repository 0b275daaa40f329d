"""Every path of this API, and what answers there. What no engine here can do is a row too: it says so."""

from litestar.handlers import HTTPRouteHandler

from kurir.api.legacy.evolution import chats, found_messages, groups, instances, labels, profile, settings, webhooks
from kurir.api.legacy.evolution.calls import Handler, route
from kurir.api.legacy.evolution.messages import send_of
from kurir.api.legacy.evolution.settings import lacking
from kurir.api.services import Services
from kurir.dialects.evolution.instance_requests import OUTLETS
from kurir.dialects.evolution.sends import FILE_SENDS, NOT_SENT, SENDS

PREFIXES = (
    "/instance/",
    "/message/",
    "/webhook/",
    "/chat/",
    "/group/",
    "/settings/",
    "/label/",
    "/proxy/",
    "/call/",
    *(f"/{name}/" for name in OUTLETS),
)
"""What the paths of this API begin with: errors there are told in its words."""

_I = "{instance:str}"

ROUTES: dict[str, dict[str, Handler]] = {
    "/instance/create": {"POST": instances.create},
    "/instance/fetchInstances": {"GET": instances.fetch},
    "/instance/refreshToken": {"PUT": instances.refresh_token},
    f"/instance/connect/{_I}": {"GET": instances.connect},
    f"/instance/connectionState/{_I}": {"GET": instances.connection_state},
    f"/instance/restart/{_I}": {"PUT": instances.restart, "POST": instances.restart},
    f"/instance/logout/{_I}": {"DELETE": instances.logout},
    f"/instance/delete/{_I}": {"DELETE": instances.delete},
    f"/instance/setPresence/{_I}": {"POST": instances.set_presence},
    **{f"/message/{last}/{_I}": {"POST": send_of(last)} for last in (*SENDS, *FILE_SENDS, *NOT_SENT)},
    f"/webhook/set/{_I}": {"POST": webhooks.set_webhook},
    f"/webhook/find/{_I}": {"GET": webhooks.find_webhook},
    f"/settings/set/{_I}": {"POST": settings.set_settings},
    f"/settings/find/{_I}": {"GET": settings.find_settings},
    f"/proxy/set/{_I}": {"POST": settings.set_proxy},
    f"/proxy/find/{_I}": {"GET": settings.find_proxy},
    **{f"/{name}/set/{_I}": {"POST": settings.setting_outlet(name)} for name in OUTLETS},
    **{f"/{name}/find/{_I}": {"GET": settings.finding_outlet(name)} for name in OUTLETS},
    f"/chat/whatsappNumbers/{_I}": {"POST": chats.check_numbers},
    f"/chat/markMessageAsRead/{_I}": {"PUT": chats.mark_read, "POST": chats.mark_read},
    f"/chat/sendPresence/{_I}": {"POST": chats.show_typing},
    f"/chat/deleteMessageForEveryone/{_I}": {"DELETE": chats.delete_for_everyone},
    f"/chat/updateMessage/{_I}": {"PUT": chats.correct, "POST": chats.correct},
    f"/chat/fetchProfilePictureUrl/{_I}": {"POST": chats.show_picture},
    f"/chat/fetchProfile/{_I}": {"POST": chats.show_profile},
    f"/chat/findContacts/{_I}": {"POST": chats.find_contacts},
    f"/chat/findMessages/{_I}": {"POST": found_messages.find_messages},
    f"/chat/findStatusMessage/{_I}": {"POST": found_messages.find_statuses},
    f"/chat/findChats/{_I}": {"GET": found_messages.find_chats, "POST": found_messages.find_chats},
    f"/chat/getBase64FromMediaMessage/{_I}": {"POST": found_messages.show_file},
    f"/chat/archiveChat/{_I}": {"PUT": chats.archive, "POST": chats.archive},
    f"/chat/markChatUnread/{_I}": {"PUT": chats.mark_unread, "POST": chats.mark_unread},
    f"/chat/updateBlockStatus/{_I}": {"PUT": profile.set_blocked, "POST": profile.set_blocked},
    f"/chat/fetchBusinessProfile/{_I}": {"POST": lacking("business profiles")},
    f"/chat/fetchPrivacySettings/{_I}": {"GET": profile.show_privacy},
    f"/chat/updatePrivacySettings/{_I}": {"PUT": profile.set_privacy, "POST": profile.set_privacy},
    f"/chat/updateProfileName/{_I}": {"POST": profile.set_name},
    f"/chat/updateProfileStatus/{_I}": {"POST": profile.set_about},
    f"/chat/updateProfilePicture/{_I}": {"PUT": profile.set_picture, "POST": profile.set_picture},
    f"/chat/removeProfilePicture/{_I}": {"DELETE": profile.remove_picture},
    f"/group/create/{_I}": {"POST": groups.create},
    f"/group/updateGroupSubject/{_I}": {"PUT": groups.set_subject, "POST": groups.set_subject},
    f"/group/updateGroupDescription/{_I}": {"PUT": groups.set_description, "POST": groups.set_description},
    f"/group/updateGroupPicture/{_I}": {"PUT": groups.set_picture, "POST": groups.set_picture},
    f"/group/findGroupInfos/{_I}": {"GET": groups.show},
    f"/group/fetchAllGroups/{_I}": {"GET": groups.show_all},
    f"/group/participants/{_I}": {"GET": groups.show_members},
    f"/group/inviteCode/{_I}": {"GET": groups.show_invite},
    f"/group/inviteInfo/{_I}": {"GET": groups.show_invited},
    f"/group/acceptInviteCode/{_I}": {"GET": groups.join},
    f"/group/sendInvite/{_I}": {"POST": groups.send_invite},
    f"/group/revokeInviteCode/{_I}": {"PUT": groups.renew_invite, "POST": groups.renew_invite},
    f"/group/updateParticipant/{_I}": {"PUT": groups.change_members, "POST": groups.change_members},
    f"/group/updateSetting/{_I}": {"PUT": groups.set_setting, "POST": groups.set_setting},
    f"/group/toggleEphemeral/{_I}": {"PUT": groups.set_expiration, "POST": groups.set_expiration},
    f"/group/leaveGroup/{_I}": {"DELETE": groups.leave},
    f"/label/findLabels/{_I}": {"GET": labels.find_labels},
    f"/label/handleLabel/{_I}": {"PUT": labels.handle_label, "POST": labels.handle_label},
    f"/call/offer/{_I}": {"POST": lacking("calls")},
}


def handlers(services: Services) -> list[HTTPRouteHandler]:
    """One handler for each path."""
    public_url = services.hosts.public_url.rstrip("/")
    return [route(path, methods, services, public_url) for path, methods in ROUTES.items()]
