"""What clients say about an instance: its creation, settings, webhook, proxy and event outlets. Pure.

v1 writes names_like_this and a webhook as a URL; v2 writes namesLikeThis and a webhook as an object. Both are read on
every path, whichever the instance was made by.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from kurir.dialects.evolution import errors
from kurir.dialects.evolution.errors import Refused
from kurir.dialects.evolution.fields import Fields
from kurir.dialects.evolution.requests import Version

MAX_NAME: Final = 100
INTEGRATIONS: Final = ("WHATSAPP-BAILEYS", "WHATSAPP-BUSINESS", "EVOLUTION")
BAILEYS: Final = "WHATSAPP-BAILEYS"

EVENTS: Final = (
    "APPLICATION_STARTUP",
    "QRCODE_UPDATED",
    "MESSAGES_SET",
    "MESSAGES_UPSERT",
    "MESSAGES_EDITED",
    "MESSAGES_UPDATE",
    "MESSAGES_DELETE",
    "SEND_MESSAGE",
    "SEND_MESSAGE_UPDATE",
    "SEND_MESSAGE_STATUS",
    "CONTACTS_SET",
    "CONTACTS_UPSERT",
    "CONTACTS_UPDATE",
    "PRESENCE_UPDATE",
    "CHATS_SET",
    "CHATS_UPSERT",
    "CHATS_UPDATE",
    "CHATS_DELETE",
    "GROUPS_UPSERT",
    "GROUP_UPDATE",
    "GROUP_PARTICIPANTS_UPDATE",
    "CONNECTION_UPDATE",
    "LABELS_EDIT",
    "LABELS_ASSOCIATION",
    "CALL",
    "NEW_JWT_TOKEN",
    "TYPEBOT_START",
    "TYPEBOT_CHANGE_STATUS",
    "CHAMA_AI_ACTION",
    "REMOVE_INSTANCE",
    "LOGOUT_INSTANCE",
    "INSTANCE_CREATE",
    "INSTANCE_DELETE",
    "STATUS_INSTANCE",
)

SETTINGS: Final = {
    "reject_call": "rejectCall",
    "msg_call": "msgCall",
    "groups_ignore": "groupsIgnore",
    "always_online": "alwaysOnline",
    "read_messages": "readMessages",
    "read_status": "readStatus",
    "sync_full_history": "syncFullHistory",
}
"""v1's name of each setting, and v2's."""

OUTLETS: Final = ("websocket", "rabbitmq", "sqs")
_V2_ONLY = (*SETTINGS.values(), "webhookUrl", "proxyHost", "proxyPort")


class Webhook(Struct, frozen=True, kw_only=True):
    """`events` are names of EVENTS; empty means all. `headers` go with each delivery."""

    url: str
    enabled: bool = True
    by_events: bool = False
    base64: bool = False
    events: tuple[str, ...] = ()
    headers: dict[str, str] = {}


class SettingsChange(Struct, frozen=True, kw_only=True):
    """What is absent stays."""

    reject_call: bool | UnsetType = UNSET
    msg_call: str | UnsetType = UNSET
    groups_ignore: bool | UnsetType = UNSET
    always_online: bool | UnsetType = UNSET
    read_messages: bool | UnsetType = UNSET
    read_status: bool | UnsetType = UNSET
    sync_full_history: bool | UnsetType = UNSET

    def given(self) -> dict[str, bool | str]:
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not UNSET}


class Outlet(Struct, frozen=True, kw_only=True):
    """Another way than webhooks on which events are wanted."""

    enabled: bool = False
    events: tuple[str, ...] = ()


class NewInstance(Struct, frozen=True, kw_only=True):
    """`version` is None where the body could be either's."""

    name: str
    token: str | None
    is_qr_wanted: bool
    number: str | None
    version: Version | None
    webhook: Webhook | None
    proxy: str | None
    settings: SettingsChange
    outlets: dict[str, Outlet]


def create(values: Mapping[str, Any]) -> NewInstance:
    """Raises Invalid or Refused."""
    fields = Fields(values)
    fields.require("instanceName")
    name = fields.text("instanceName", min_length=1, max_length=MAX_NAME).strip()
    if "/" in name or not name.isprintable() or (fields.has("instanceName") and not fields.findings and not name):
        fields.find("instanceName", "does not match pattern of a name without slashes")
    is_v2 = isinstance(fields.raw("webhook"), dict) or any(fields.has(one) for one in _V2_ONLY)
    is_v1 = isinstance(fields.raw("webhook"), str) or any(fields.has(one) for one in SETTINGS)
    if fields.text("integration", BAILEYS, allowed=INTEGRATIONS) != BAILEYS:
        fields.check()
        raise errors.lacking("the integration " + fields.text("integration"))
    new = NewInstance(
        name=name,
        token=fields.optional("token", max_length=512),
        is_qr_wanted=fields.flag("qrcode"),
        number=fields.optional("number", max_length=64),
        version="v2" if is_v2 else "v1" if is_v1 else None,
        webhook=_webhook_of_new(fields),
        proxy=_proxy_of_new(fields),
        settings=_settings(fields),
        outlets={one: _outlet_of_new(fields, one) for one in OUTLETS},
    )
    for bot in ("typebot", "chatwoot_account_id", "chatwootAccountId"):
        if fields.has(bot):
            fields.find(bot, "is not supported by this gateway")
    fields.check()
    return new


def webhook(values: Mapping[str, Any]) -> Webhook:
    """`POST /webhook/set`. Raises Invalid or Refused."""
    fields = Fields(values)
    found = _webhook(fields.part("webhook") if fields.has("webhook") else fields)
    fields.check()
    if found.enabled and not found.url:
        raise Refused(errors.BAD_URL)
    return found


def settings(values: Mapping[str, Any]) -> SettingsChange:
    """`POST /settings/set`. Raises Invalid."""
    fields = Fields(values)
    found = _settings(fields)
    fields.check()
    return found


def outlet(values: Mapping[str, Any], name: str) -> Outlet:
    """`POST /websocket|rabbitmq|sqs/set`. Raises Invalid."""
    fields = Fields(values)
    body = fields.part(name) if fields.has(name) else fields
    body.require("enabled")
    found = Outlet(enabled=body.flag("enabled"), events=_events(body))
    fields.check()
    return found


def proxy(values: Mapping[str, Any]) -> str | None:
    """`POST /proxy/set`: a proxy's URL, None to use none. Raises Invalid."""
    fields = Fields(values)
    body = fields.part("proxy") if isinstance(fields.raw("proxy"), dict) else fields
    if not body.flag("enabled", True):
        fields.check()
        return None
    url = _proxy(body, host="host", port="port", protocol="protocol", username="username", password="password")  # noqa: S106 - a field's name
    fields.check()
    return url


def presence(values: Mapping[str, Any]) -> str:
    """`POST /instance/setPresence`. Raises Invalid."""
    fields = Fields(values)
    fields.require("presence")
    found = fields.text("presence", allowed=("unavailable", "available", "composing", "recording", "paused"))
    fields.check()
    return found


def _settings(fields: Fields) -> SettingsChange:
    given: dict[str, bool | str] = {}
    for snake, camel in SETTINGS.items():
        name = camel if fields.has(camel) else snake
        if fields.has(name):
            given[snake] = fields.text(name, max_length=4096) if snake == "msg_call" else fields.flag(name)
    return replace(SettingsChange(), **given)


def _webhook_of_new(fields: Fields) -> Webhook | None:
    if isinstance(fields.raw("webhook"), dict):
        found = _webhook(fields.part("webhook"))
        return found if found.url else None
    name = "webhook" if fields.has("webhook") else "webhookUrl"
    url = fields.text(name, max_length=2048)
    if not url:
        return None
    _check_url(fields, name, url)
    return Webhook(
        url=url,
        by_events=fields.flag("webhook_by_events") or fields.flag("webhookByEvents"),
        base64=fields.flag("webhook_base64") or fields.flag("webhookBase64"),
        events=_events(fields, "events" if fields.has("events") else "webhookEvents"),
    )


def _webhook(body: Fields) -> Webhook:
    url = body.text("url", max_length=2048)
    enabled = body.flag("enabled", True)
    if url or enabled:
        _check_url(body, "url", url)
    return Webhook(
        url=url,
        enabled=enabled,
        by_events=body.flag("webhook_by_events") or body.flag("webhookByEvents") or body.flag("byEvents"),
        base64=body.flag("webhook_base64") or body.flag("webhookBase64") or body.flag("base64"),
        events=_events(body),
        headers=_headers(body),
    )


def _check_url(fields: Fields, name: str, url: str) -> None:
    if not fields.findings and (not url.startswith(("http://", "https://")) or not 8 <= len(url) <= 2048):
        raise Refused(errors.BAD_URL)


def _headers(body: Fields) -> dict[str, str]:
    given = body.raw("headers")
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()) or len(given) > 20:
        body.find("headers", "is not of a type(s) object")
        return {}
    return dict(given)


def _events(fields: Fields, name: str = "events") -> tuple[str, ...]:
    """The names in their usual form: case does not matter, and dots or hyphens may stand for underscores."""
    given = fields.texts(name, most=len(EVENTS) * 2)
    names = tuple(one.upper().replace(".", "_").replace("-", "_") for one in given)
    for index, one in enumerate(names):
        if one not in EVENTS:
            fields.find(f"{name}[{index}]", f"is not one of enum values: {','.join(EVENTS)}")
    return names


def _outlet_of_new(fields: Fields, name: str) -> Outlet:
    if isinstance(fields.raw(name), dict):
        body = fields.part(name)
        return Outlet(enabled=body.flag("enabled"), events=_events(body))
    camel = "Enabled" if fields.has(f"{name}Enabled") else "_enabled"
    events = "Events" if fields.has(f"{name}Events") else "_events"
    return Outlet(enabled=fields.flag(name + camel), events=_events(fields, name + events))


def _proxy_of_new(fields: Fields) -> str | None:
    if fields.has("proxy"):
        body = fields.part("proxy")
        return _proxy(body, host="host", port="port", protocol="protocol", username="username", password="password")  # noqa: S106 - a field's name
    if fields.has("proxyHost"):
        names = {one: "proxy" + one.capitalize() for one in ("host", "port", "protocol", "username", "password")}
        return _proxy(fields, **names)
    return None


def _proxy(fields: Fields, *, host: str, port: str, protocol: str, username: str, password: str) -> str:
    """The proxy as a URL. Its name is judged, like its address, by who dials it."""
    fields.require(host, port)
    where = fields.text(host, min_length=1, max_length=253)
    number = fields.whole(port, 1, least=1, most=65_535)
    scheme = fields.text(protocol, "http", allowed=("http", "https", "socks5", "socks4", "socks"))
    user, secret = fields.text(username, max_length=100), fields.text(password, max_length=200)
    login = f"{quote(user, safe='')}:{quote(secret, safe='')}@" if user else ""
    return f"{'socks5' if scheme == 'socks' else scheme}://{login}{where}:{number}"
