"""The questions of clients (IQs) and their answers.

The kind of a question is "xmlns:type:child", such as "encrypt:get:count"; the fault knobs go by it. A question that is
not known gets error 501 and a line in the journal.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag

from tests.support.whatsapp_emulator.accounts import Account, Device, Directory, SignedPrekey, picture_id
from tests.support.whatsapp_emulator.app_state_patches import AppStates
from tests.support.whatsapp_emulator.connection import Connection
from tests.support.whatsapp_emulator.faults import Faults
from tests.support.whatsapp_emulator.front_door import MEDIA_HOST
from tests.support.whatsapp_emulator.groups import Group, Groups, IqRefused
from tests.support.whatsapp_emulator.jid import PHONE_SERVER, SERVER, Jid
from tests.support.whatsapp_emulator.journal import Journal
from tests.support.whatsapp_emulator.media_host import MediaHost
from tests.support.whatsapp_emulator.pairing import Pairing
from tests.support.whatsapp_emulator.phones import Phones, is_phone
from tests.support.whatsapp_emulator.post import Post, now
from tests.support.whatsapp_emulator.signal_protocol import Bundle
from tests.support.whatsapp_emulator.stanza import Stanza, Value, leaf, parent

FEW_PREKEYS = 5
KEY_TYPE = b"\x05"
JPEG = b"\xff\xd8"
PRIVACY_SETTINGS = ("groupadd", "last", "status", "profile", "readreceipts", "online", "calladd")
PRIVACY_LEVELS = ("all", "contacts", "contact_blacklist", "match_last_seen", "known", "none")
SET_ABOUT = "9152604461510864"


@dataclass(frozen=True, slots=True)
class Asked:
    """One question. `about` is its first child, an empty element when there is none."""

    connection: Connection
    iq: Stanza
    about: Stanza
    type: str

    @property
    def device(self) -> Device:
        return self.connection.owner


Answering = Callable[[Asked], list[Stanza]]


class Queries:
    """Answers IQs. What follows from a question comes after its answer on the wire."""

    def __init__(
        self,
        directory: Directory,
        post: Post,
        journal: Journal,
        media: MediaHost,
        groups: Groups,
        phones: Phones,
        pairing: Pairing,
        faults: Faults,
    ) -> None:
        self._directory = directory
        self._post = post
        self._journal = journal
        self._media = media
        self._groups = groups
        self._phones = phones
        self._pairing = pairing
        self._faults = faults
        self._app_states = AppStates(media, journal)
        self._answering: dict[str, Answering] = {
            "w:p": _nothing,
            "passive": _nothing,
            "encrypt": self._keys,
            "usync": self._users,
            "w:m": self._media_connection,
            "privacy": _privacy,
            "blocklist": self._blocklist,
            "status": self._about,
            "w:mex": self._graph,
            "w:profile:picture": self._picture,
            "w:g2": lambda asked: self._groups.answer(asked.device, asked.iq),
            "w:sync:app:state": self._app_state,
            "md": self._linking,
        }

    def answer(self, connection: Connection, iq: Stanza) -> None:
        """Answer a question, or take the answer to ours."""
        if iq.get("type") in ("result", "error"):
            self._pairing.answered(connection, iq)
            return
        about = iq.children[0] if iq.children else Stanza("")
        asked = Asked(connection, iq, about, iq.get("type") or "")
        namespace = iq.get("xmlns") or ""
        kind = f"{namespace}:{asked.type}:{about.tag}"
        if kind in self._faults.silent_iqs:
            self._journal.record("iq.left_unanswered", iq=kind, connection=connection.id)
            return
        try:
            if kind in self._faults.iq_errors:
                code, text = self._faults.iq_errors[kind]
                raise IqRefused(int(code), text)
            answering = self._answering.get(namespace)
            if answering is None:
                self._journal.record("iq.unknown", iq=kind, connection=connection.id)
                raise IqRefused(501, "feature-not-implemented")
            answer = answering(asked)
        except IqRefused as refused:
            self._reply(asked, "error", [Stanza("error", {"code": refused.code, "text": refused.text})])
        except (KeyError, InvalidTag) as error:
            self._journal.record("iq.malformed", iq=kind, connection=connection.id, why=repr(error))
            self._reply(asked, "error", [Stanza("error", {"code": 400, "text": "bad-request"})])
        else:
            self._reply(asked, "result", answer)
            self._follow_up(asked, kind)

    def _reply(self, asked: Asked, kind: str, content: list[Stanza]) -> None:
        to = asked.iq.find_jid("to") or SERVER
        attributes: dict[str, Value] = {"from": to, "type": kind, "id": asked.iq.get("id")}
        asked.connection.send(Stanza("iq", attributes, content or None))

    def _follow_up(self, asked: Asked, kind: str) -> None:
        if kind.startswith("encrypt:set:"):
            self._phones.welcome(asked.device)
        elif kind == "md:set:link_code_companion_reg" and asked.about.get("stage") == "companion_finish":
            self._pairing.code_accepted(asked.about)
        elif kind == "md:set:remove-companion-device":
            device = asked.device
            device.account.devices.pop(device.number, None)
            self._journal.record("device.removed", device=device.name, by="client")

    # --- keys -------------------------------------------------------------------------------------------------------

    def _keys(self, asked: Asked) -> list[Stanza]:
        if asked.about.tag == "count":
            return [Stanza("count", {"value": len(asked.device.prekeys)})]
        if asked.about.tag == "key":
            return [parent("list", [self._bundle(user.jid("jid")) for user in asked.about.children])]
        device, iq = asked.device, asked.iq
        device.registration, device.identity = iq.child("registration").data, iq.child("identity").data
        signed = iq.child("skey")
        device.signed_prekey = SignedPrekey(
            signed.child("id").data, signed.child("value").data, signed.child("signature").data
        )
        device.prekeys.update((key.child("id").data, key.child("value").data) for key in iq.child("list").children)
        return []

    def _bundle(self, jid: Jid) -> Stanza:
        account, device = self._directory.find(jid), self._directory.find_device(jid)
        if account is not None and is_phone(jid):
            registration = account.signal.registration_id.to_bytes(4, "big")
            return _bundle_stanza(jid, registration, account.bundle(), account.signal.signed_prekey_signature)
        if device is None:
            return parent("user", [Stanza("error", {"code": 404, "text": "item-not-found"})], jid=jid)
        bundle = device.bundle()
        if len(device.prekeys) < FEW_PREKEYS:
            count = Stanza("count", {"value": len(device.prekeys)})
            attributes: dict[str, Value] = {"from": SERVER, "type": "encrypt", "id": self._post.new_id(), "t": now()}
            self._post.hand_over(device, Stanza("notification", attributes, [count]))
        return _bundle_stanza(jid, device.registration, bundle, device.signed_prekey.signature)

    # --- accounts ---------------------------------------------------------------------------------------------------

    def _users(self, asked: Asked) -> list[Stanza]:
        """Who is on WhatsApp, their devices, their LIDs: as much as is asked for."""
        wanted = {child.tag for child in asked.about.child("query").children}
        users = [self._user(user, wanted) for user in asked.about.child("list").children]
        attributes: dict[str, Value] = {name: asked.about.get(name) for name in ("sid", "mode", "context")}
        answer = [Stanza("result"), parent("list", users)]
        return [Stanza("usync", attributes | {"last": "true", "index": 0}, answer)]

    def _user(self, user: Stanza, wanted: set[str]) -> Stanza:
        jid = user.find_jid("jid")
        found: list[Stanza] = []
        if jid is not None:
            account = self._known(jid)
            attributes: dict[str, Value] = {"jid": jid}
        else:
            number = user.child("contact").data
            phone = number.decode().partition("@")[0].lstrip("+")
            account = self._known(Jid(phone, PHONE_SERVER))
            attributes = {"jid": account.lid, "pn_jid": account.pn} if account else {"jid": Jid(phone, PHONE_SERVER)}
            found.append(leaf("contact", number, type="in" if account else "out"))
        if account is not None:
            if "devices" in wanted:
                listed = [Stanza("device", {"id": number}) for number in (0, *account.devices)]
                found.append(parent("devices", [parent("device-list", listed, hash="2:emulator")]))
            if "lid" in wanted:
                found.append(Stanza("lid", {"val": account.lid}))
            if "status" in wanted:
                found.append(leaf("status", account.about))
            if "picture" in wanted and account.picture is not None:
                found.append(Stanza("picture", {"id": picture_id(account.picture)}))
        return Stanza("user", attributes, found)

    def _known(self, jid: Jid) -> Account | None:
        account = self._directory.find(jid)
        if account is None and self._faults.everyone_is_here and not jid.is_lid:
            try:
                return self._directory.account(jid.user)
            except ValueError:
                return None
        return account

    def _about(self, asked: Asked) -> list[Stanza]:
        if asked.type == "get":
            return [self._status_privacy(asked.device.account)]
        asked.device.account.about = asked.about.data.decode()
        return []

    def _status_privacy(self, account: Account) -> Stanza:
        """Who sees the account's status updates."""
        if account.status_list is None:
            return parent("privacy", [Stanza("list", {"type": "contacts", "default": "true"})])
        users = [Stanza("user", {"jid": Jid(phone, PHONE_SERVER)}) for phone in account.status_list]
        return parent("privacy", [parent("list", users, type="whitelist", default="true")])

    def _graph(self, asked: Asked) -> list[Stanza]:
        """The one question of the graph interface that is known: another about text."""
        if asked.about.get("query_id") != SET_ABOUT:
            raise IqRefused(501, "feature-not-implemented")
        asked.device.account.about = json.loads(asked.about.data)["variables"]["input"]["text"]
        return [leaf("result", '{"data": {}}')]

    def _blocklist(self, asked: Asked) -> list[Stanza]:
        blocked = asked.device.account.blocked
        if asked.type == "set":
            concerned = self._directory.find(asked.about.jid("jid"))
            if concerned is None:
                raise IqRefused(404, "item-not-found")
            if asked.about.get("action") == "block":
                blocked[concerned.phone] = concerned
            else:
                blocked.pop(concerned.phone, None)
        return [
            parent("list", [Stanza("item", {"jid": each.lid}) for each in blocked.values()], dhash=str(len(blocked)))
        ]

    def _picture(self, asked: Asked) -> list[Stanza]:
        target = asked.iq.find_jid("target")
        group = None if target is None else self._groups.find(target)
        if asked.type == "set":
            return self._set_picture(asked, group)
        account = None if target is None else self._directory.find(target)
        picture = group.picture if group is not None else account.picture if account is not None else None
        if picture is None:
            raise IqRefused(404, "item-not-found")
        identity = picture_id(picture)
        if asked.about.get("id") == identity:
            return []
        url, direct_path = self._media.picture_url(identity, picture)
        kind = asked.about.get("type")
        return [Stanza("picture", {"id": identity, "url": url, "type": kind, "direct_path": direct_path})]

    def _set_picture(self, asked: Asked, group: Group | None) -> list[Stanza]:
        picture = asked.about.data
        if not picture.startswith(JPEG):
            raise IqRefused(406, "not-acceptable")
        if group is not None:
            self._groups.set_picture(group, asked.device.account, picture, by=asked.device)
        elif asked.iq.find_jid("target") is None:
            asked.device.account.picture = picture
        else:
            raise IqRefused(404, "item-not-found")
        return [Stanza("picture", {"id": picture_id(picture)})]

    # --- the device itself ------------------------------------------------------------------------------------------

    def _media_connection(self, asked: Asked) -> list[Stanza]:
        hosts = [Stanza("host", {"hostname": MEDIA_HOST})]
        return [parent("media_conn", hosts, auth="emulator", ttl=3600, auth_ttl=21600, max_buckets=12)]

    def _app_state(self, asked: Asked) -> list[Stanza]:
        """The state that the phone shared, and what clients have changed of it."""
        account = asked.device.account
        return [parent("sync", [self._app_states.answer(account, wanted) for wanted in asked.about.children])]

    def _linking(self, asked: Asked) -> list[Stanza]:
        if asked.about.tag == "remove-companion-device":
            return []
        if asked.about.tag == "link_code_companion_reg" and asked.about.get("stage") == "companion_hello":
            return self._pairing.code_requested(asked.connection, asked.about)
        if asked.about.tag == "link_code_companion_reg":
            return []
        raise IqRefused(501, "feature-not-implemented")


def _nothing(asked: Asked) -> list[Stanza]:
    return []


def _privacy(asked: Asked) -> list[Stanza]:
    chosen = asked.device.account.privacy
    if asked.type == "set":
        for category in asked.about.all("category"):
            name, value = category.get("name") or "", category.get("value") or ""
            if name not in PRIVACY_SETTINGS or value not in PRIVACY_LEVELS:
                raise IqRefused(400, "bad-request")
            chosen[name] = value
    shown = [Stanza("category", {"name": name, "value": chosen.get(name, "all")}) for name in PRIVACY_SETTINGS]
    return [parent("privacy", shown)]


def _bundle_stanza(jid: Jid, registration: bytes, bundle: Bundle, signature: bytes) -> Stanza:
    signed = [
        leaf("id", bundle.signed_prekey_id.to_bytes(3, "big")),
        leaf("value", bundle.signed_prekey),
        leaf("signature", signature),
    ]
    parts = [
        leaf("registration", registration),
        leaf("type", KEY_TYPE),
        leaf("identity", bundle.identity),
        parent("skey", signed),
    ]
    if bundle.prekey_id is not None and bundle.prekey is not None:
        prekey = [leaf("id", bundle.prekey_id.to_bytes(3, "big")), leaf("value", bundle.prekey)]
        parts.append(parent("key", prekey))
    return parent("user", parts, jid=jid, t=now())
