"""What this API answers about instances, their settings, webhooks and outlets. Pure.

v1 says names_like_this and wraps what it set, v2 says namesLikeThis and answers the thing itself.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal

from msgspec import Struct

from kurir.contracts.records import Device, DeviceSettings, Outlet, Session
from kurir.contracts.states import ConnectionState
from kurir.dialects.evolution.instance_requests import BAILEYS, OUTLETS, SETTINGS, Webhook
from kurir.dialects.evolution.requests import Version

State = Literal["open", "connecting", "close"]

_STATES: Final[dict[ConnectionState, State]] = {
    "connected": "open",
    "connecting": "connecting",
    "qr": "connecting",
    "pairing_code": "connecting",
    "passkey_required": "connecting",
}


class Instance(Struct, frozen=True, kw_only=True):
    """A device with how it is now. `key` is the API key, where answers may repeat it."""

    device: Device
    session: Session | None
    server_url: str
    picture: str | None = None
    key: str | None = None

    @property
    def name(self) -> str:
        return self.device.code or self.device.id

    @property
    def state(self) -> State:
        return state_of(self.session.state) if self.session is not None else self.unknown_state

    @property
    def unknown_state(self) -> State:
        """Before its owner has said anything."""
        return "connecting" if self.device.wanted == "connected" else "close"


class KnownWebhook(Struct, frozen=True, kw_only=True):
    """A webhook as it is kept."""

    id: str
    webhook: Webhook
    created_at: datetime
    updated_at: datetime


def state_of(state: ConnectionState) -> State:
    return _STATES.get(state, "close")


def created(
    instance: Instance, *, key: str, webhook: Webhook | None, qrcode: dict[str, Any] | None, version: Version
) -> dict[str, Any]:
    """`POST /instance/create`; `qrcode` is None where it was not asked for."""
    settings = instance.device.settings
    about = {
        "instanceName": instance.name,
        "instanceId": instance.device.id,
        "integration": BAILEYS,
    }
    body: dict[str, Any]
    if version == "v1":
        body = {
            "instance": about | {"webhook_wa_business": None, "access_token_wa_business": "", "status": "created"},
            "hash": {"apikey": key},
            "webhook": {
                "webhook": webhook.url,
                "webhook_by_events": webhook.by_events,
                "webhook_base64": webhook.base64,
                "events": list(webhook.events),
            }
            if webhook is not None
            else {"webhook_by_events": False, "webhook_base64": False, "events": []},
            **{name: outlet(settings, name) for name in OUTLETS},
            "typebot": {"enabled": False},
            "settings": settings_of(settings, "v1"),
        }
    else:
        body = {
            "instance": about | {"webhookWaBusiness": None, "accessTokenWaBusiness": "", "status": instance.state},
            "hash": key,
            "webhook": {
                "webhookUrl": webhook.url,
                "webhookHeaders": webhook.headers,
                "webhookByEvents": webhook.by_events,
                "webhookBase64": webhook.base64,
            }
            if webhook is not None
            else {},
            **{name: outlet(settings, name) for name in OUTLETS},
            "settings": settings_of(settings, "v2"),
        }
    return body | ({"qrcode": qrcode} if qrcode is not None else {})


def qr_code(session: Session | None, *, base64: str | None, count: int) -> dict[str, Any]:
    """`base64` is the picture of the code as a data URL. Before there is a code, nothing but the count."""
    code = session.qr if session is not None else None
    pairing = session.pairing_code if session is not None else None
    shown = {"code": code, "base64": base64} if code is not None else {}
    return {"pairingCode": pairing, **shown, "count": count if code or pairing else 0}


def state(instance: Instance) -> dict[str, Any]:
    return {"instance": {"instanceName": instance.name, "state": instance.state}}


def done(message: str) -> dict[str, Any]:
    return {"status": "SUCCESS", "error": False, "response": {"message": message}}


LOGGED_OUT: Final = "Instance logged out"
DELETED: Final = "Instance deleted"


def fetched(instance: Instance) -> dict[str, Any]:
    """One instance of v1's `fetchInstances`; whether it is open decides what is told of it."""
    session = instance.session
    about: dict[str, Any] = {"instanceName": instance.name, "instanceId": instance.device.id}
    if session is not None and instance.state == "open":
        about |= {
            "owner": f"{session.phone}@s.whatsapp.net" if session.phone else session.jid,
            "profileName": session.push_name or "not loaded",
            "profilePictureUrl": instance.picture,
            "profileStatus": "",
        }
    about |= {"status": instance.state, "serverUrl": instance.server_url}
    if instance.key is not None:
        about["apikey"] = instance.key
    return {"instance": about | {"integration": {"integration": BAILEYS, "webhook_wa_business": None}}}


def fetched_v2(instance: Instance) -> dict[str, Any]:
    """One instance of v2's `fetchInstances`."""
    device, session = instance.device, instance.session
    phone = session.phone if session is not None else None
    is_ended = session is not None and instance.state == "close" and session.reason is not None
    return {
        "id": device.id,
        "name": instance.name,
        "connectionStatus": instance.state,
        "ownerJid": f"{phone}@s.whatsapp.net" if phone else None,
        "profileName": session.push_name if session is not None else None,
        "profilePicUrl": instance.picture,
        "integration": BAILEYS,
        "number": phone,
        "businessId": None,
        "token": instance.key,
        "clientName": "kurir",
        "disconnectionReasonCode": None,
        "disconnectionObject": session.reason if session is not None and is_ended else None,
        "disconnectionAt": _iso(session.at) if session is not None and is_ended else None,
        "createdAt": _iso(device.created_at),
        "updatedAt": _iso(device.updated_at),
        "Setting": settings_of(device.settings, "v2") | {"instanceId": device.id},
        "_count": {"Message": None, "Contact": None, "Chat": None},
    }


def settings_of(settings: DeviceSettings, version: Version) -> dict[str, Any]:
    return {(snake if version == "v1" else camel): getattr(settings, snake) for snake, camel in SETTINGS.items()}


def settings_set(instance: Instance, version: Version) -> dict[str, Any]:
    told = settings_of(instance.device.settings, version)
    if version == "v2":
        return told
    return {"settings": {"instanceName": instance.name, "settings": told}}


def webhook_set(instance: Instance, known: KnownWebhook, version: Version) -> dict[str, Any]:
    if version == "v2":
        return _webhook_v2(instance, known)
    return {"webhook": {"instanceName": instance.name, "webhook": _webhook_v1(known.webhook)}}


def webhook_found(instance: Instance, known: KnownWebhook | None, version: Version) -> dict[str, Any] | None:
    """v2 answers null where there is none."""
    if version == "v2":
        return _webhook_v2(instance, known) if known is not None else None
    return _webhook_v1(known.webhook if known is not None else Webhook(url="", enabled=False))


def outlet(settings: DeviceSettings, name: str) -> dict[str, Any]:
    kept: Outlet = settings.websocket if name == "websocket" else Outlet()
    return {"enabled": kept.enabled, "events": list(kept.events)}


def outlet_set(instance: Instance, name: str) -> dict[str, Any]:
    return {name: {"instanceName": instance.name, name: outlet(instance.device.settings, name)}}


def proxy(shown: str | None) -> dict[str, Any]:
    """The proxy without its password; v1 and v2 agree on the members."""
    if shown is None:
        return {"enabled": False, "proxy": None}
    protocol, _, rest = shown.partition("://")
    login, at, where = rest.rpartition("@")
    host, _, port = where.rpartition(":")
    return {
        "enabled": True,
        "proxy": {
            "host": host,
            "port": port,
            "protocol": protocol,
            "username": login.partition(":")[0] if at else "",
            "password": "",
        },
    }


def proxy_set(instance: Instance, shown: str | None) -> dict[str, Any]:
    return {"proxy": {"instanceName": instance.name, **proxy(shown)}}


def presence_set(presence: str) -> dict[str, Any]:
    return {"presence": presence}


def _webhook_v1(webhook: Webhook) -> dict[str, Any]:
    return {
        "enabled": webhook.enabled,
        "url": webhook.url,
        "events": list(webhook.events),
        "webhook_by_events": webhook.by_events,
        "webhook_base64": webhook.base64,
    }


def _webhook_v2(instance: Instance, known: KnownWebhook) -> dict[str, Any]:
    webhook = known.webhook
    return {
        "id": known.id,
        "url": webhook.url,
        "headers": webhook.headers or None,
        "enabled": webhook.enabled,
        "events": list(webhook.events),
        "webhookByEvents": webhook.by_events,
        "webhookBase64": webhook.base64,
        "createdAt": _iso(known.created_at),
        "updatedAt": _iso(known.updated_at),
        "instanceId": instance.device.id,
    }


def one_or_all(found: Sequence[dict[str, Any]], *, is_named: bool, is_bound: bool) -> Any:
    """v1 answers one object to who asks for one instance with a key that has all of them, and a list to others."""
    return found[0] if is_named and not is_bound else list(found)


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
