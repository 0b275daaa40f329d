"""What one session asks of WhatsApp besides sending: presence, read marks, numbers, pictures, contacts, groups.

Every question is one call of the library, bounded in time, in threads of their own: questions that are not answered
hold up other questions at most.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from kurir.contracts.content import MessageKey
from kurir.session_node.engines.neonize.address_book import AddressBook
from kurir.session_node.engines.neonize.arguments import done, jid_of, portrait_of, understood
from kurir.session_node.engines.neonize.library import Library
from kurir.session_node.engines.neonize.link import Link
from kurir.session_node.engines.neonize.media_forms import MediaForms
from kurir.session_node.engines.neonize.number_checks import NumberChecks
from kurir.session_node.engines.neonize.workers import Workers
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

NANOSECONDS = 1_000_000_000
REQUEST_TIMEOUT_S = 30.0  # whatsmeow itself waits 75 s, in a thread that nobody else needs

_TYPING: dict[TypingState, tuple[int, int]] = {"typing": (0, 0), "recording": (0, 1), "paused": (1, 0)}
"""State and media as SendChatPresence takes them: neonize/utils/enum.py."""

Addressed = TypeVar("Addressed", bound=Struct)


class Requests:
    """`require_link` gives the link that is connected now or raises NotConnected."""

    def __init__(
        self,
        library: Library,
        workers: Workers,
        people: AddressBook,
        forms: MediaForms,
        require_link: Callable[[], Link],
    ) -> None:
        self._library = library
        self._workers = workers
        self._people = people
        self._forms = forms
        self._require_link = require_link
        self._numbers = NumberChecks(self._ask_for_numbers)

    async def ping(self) -> None:
        """Say that this client is active, as the library itself does after each login: WhatsApp confirms it."""
        done(await self.ask("SetPassive", 0))

    # --- presence and marks -----------------------------------------------------------------------------------------

    async def show_online(self, online: bool) -> None:
        done(await self.ask("SendPresence", b"available" if online else b"unavailable"))

    async def show_typing(self, chat: str, state: TypingState) -> None:
        done(await self.ask("SendChatPresence", *jid_of(chat), *_TYPING[state]))

    async def watch_presence(self, jid: str) -> None:
        done(await self.ask("SubscribePresence", *jid_of(jid)))

    async def mark_read(self, keys: tuple[MessageKey, ...], played: bool) -> None:
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        ids_of = defaultdict[tuple[str, str], list[str]](list)
        for key in keys:
            ids_of[key.chat, key.participant or key.chat].append(key.whatsapp_id)
        receipt, now = b"played" if played else b"read", answers.timestamp_now()
        for (chat, sender), ids in ids_of.items():
            done(await self.ask("MarkRead", " ".join(ids).encode(), now, *jid_of(chat), *jid_of(sender), receipt))

    # --- people -----------------------------------------------------------------------------------------------------

    async def check_numbers(self, phones: tuple[str, ...]) -> tuple[NumberCheck, ...]:
        return await self._numbers.check(phones)

    async def _ask_for_numbers(self, phones: list[str]) -> list[NumberCheck]:
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        answer = await self.ask("IsOnWhatsApp", " ".join(f"+{phone}" for phone in phones).encode())
        return [self._complete(check) for check in answers.number_checks(answer)]

    async def profile_picture(self, jid: str) -> Picture | None:
        from kurir.session_node.engines.neonize import to_whatsapp
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        asked = to_whatsapp.picture_request()
        return answers.picture(await self.ask("GetProfilePicture", *jid_of(jid), asked, len(asked)))

    async def contacts(self) -> tuple[KnownContact, ...]:
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        return tuple(map(self._complete, answers.contacts(await self.ask("GetAllContacts"))))

    # --- groups -----------------------------------------------------------------------------------------------------

    async def groups(self) -> tuple[Group, ...]:
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        return answers.groups(await self.ask("GetJoinedGroups"))

    async def group(self, jid: str) -> Group:
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        return answers.group(await self.ask("GetGroupInfo", *jid_of(jid)))

    async def create_group(self, subject: str, members: tuple[str, ...]) -> Group:
        from kurir.session_node.engines.neonize import to_whatsapp
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        wanted = understood(to_whatsapp.new_group, subject, members, f"3EB0{secrets.token_hex(9).upper()}")
        return answers.group(await self.ask("CreateGroup", wanted, len(wanted)))

    async def change_members(
        self, jid: str, change: MemberChange, members: tuple[str, ...]
    ) -> tuple[MemberChanged, ...]:
        from kurir.session_node.engines.neonize import to_whatsapp
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        concerned = understood(to_whatsapp.jids, members)
        answer = await self.ask("UpdateGroupParticipants", *jid_of(jid), concerned, len(concerned), change.encode())
        return answers.members_changed(answer)

    async def invite_link(self, jid: str, renew: bool) -> str:
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        return answers.invite_link(await self.ask("GetGroupInviteLink", *jid_of(jid), renew))

    async def set_subject(self, jid: str, subject: str) -> None:
        done(await self.ask("SetGroupName", *jid_of(jid), subject.encode()))

    async def set_description(self, jid: str, description: str) -> None:
        # Without ids the library looks up the former one and makes the new one.
        done(await self.ask("SetGroupTopic", *jid_of(jid), b"", b"", description.encode()))

    async def set_group_rights(self, jid: str, is_announce: bool | None, is_locked: bool | None) -> None:
        if is_announce is not None:
            done(await self.ask("SetGroupAnnounce", *jid_of(jid), is_announce))
        if is_locked is not None:
            done(await self.ask("SetGroupLocked", *jid_of(jid), is_locked))

    async def set_disappearing(self, jid: str, seconds: int) -> None:
        # A Go duration; the time of the setting is of interest in chats of two alone.
        done(await self.ask("SetDisappearingTimer", *jid_of(jid), seconds * NANOSECONDS, 0))

    async def set_group_picture(self, jid: str, picture: bytes) -> None:
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        portrait = await portrait_of(self._forms, picture)
        answers.require_picture_set(await self.ask("SetGroupPhoto", *jid_of(jid), portrait, len(portrait)))

    async def leave_group(self, jid: str) -> None:
        done(await self.ask("LeaveGroup", *jid_of(jid)))

    async def join_group(self, code: str) -> str:
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        return answers.joined_group(await self.ask("JoinGroupWithLink", code.encode()))

    async def invitation(self, code: str) -> Group:
        from kurir.session_node.engines.neonize.from_whatsapp import answers

        return answers.group(await self.ask("GetGroupInfoFromLink", code.encode()))

    # ----------------------------------------------------------------------------------------------------------------

    async def ask(self, function: str, *arguments: bytes | int) -> bytes:
        """What a function of the library answers. Raises NotConnected or RequestFailed."""
        link = self._require_link()
        try:
            return await link.call(
                self._library.ask, function, arguments, timeout_s=REQUEST_TIMEOUT_S, workers=self._workers
            )
        except TimeoutError as error:
            raise RequestFailed("server_unavailable", f"no answer within {REQUEST_TIMEOUT_S:.0f} s", 30.0) from error

    def _complete(self, known: Addressed) -> Addressed:
        address = getattr(known, "address", None)
        return known if address is None else msgspec.structs.replace(known, address=self._people.complete(address))
