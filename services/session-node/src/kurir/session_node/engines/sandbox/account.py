"""What a sandbox account shows of itself, to whom, whom it blocks and how its chats stand. It is kept; its contacts do
not look."""

from collections.abc import Awaitable, Callable

from msgspec import structs

from kurir.contracts.content import Address
from kurir.session_node.engines.requests import Label, Privacy, RequestFailed
from kurir.session_node.engines.sandbox import contacts
from kurir.session_node.engines.sandbox.store import KeptAccount, Store

SAYS = "Hey there! I am using WhatsApp."


class Account:
    """`key` is tenant and device. `require_me` gives the JID that is connected now, or raises NotConnected; `ask_about`
    does with a question about a JID what its scenario says."""

    def __init__(
        self,
        key: tuple[str, str],
        store: Store,
        require_me: Callable[[], str],
        ask_about: Callable[[str], Awaitable[None]],
    ) -> None:
        self._key = key
        self._store = store
        self._require_me = require_me
        self._ask_about = ask_about

    async def about(self, jid: str) -> str | None:
        if jid == self._require_me():
            return self._kept().about
        await self._ask_about(jid)
        return SAYS

    async def set_name(self, name: str) -> None:
        self._keep(name=name)

    async def set_about(self, about: str) -> None:
        self._keep(about=about or None)

    async def set_picture(self, picture: bytes) -> None:
        self._keep(picture=contacts.picture_id(picture))

    async def remove_picture(self) -> None:
        self._keep(picture="")

    async def privacy(self) -> Privacy:
        return self._kept().privacy

    async def set_privacy(self, privacy: Privacy) -> Privacy:
        given = {name: level for name, level in structs.asdict(privacy).items() if level is not None}
        changed = structs.replace(self._kept().privacy, **given)
        self._keep(privacy=changed)
        return changed

    async def blocked(self) -> tuple[Address, ...]:
        return tuple(map(contacts.address, self._kept().blocked))

    async def set_blocked(self, jid: str, blocked: bool) -> None:
        await self._ask_about(jid)
        self._keep(blocked=_with(self._kept().blocked, jid, blocked))

    async def archive_chat(self, chat: str, archived: bool) -> None:
        await self._ask_about(chat)
        self._keep(archived=_with(self._kept().archived, chat, archived))

    async def mark_unread(self, chat: str) -> None:
        await self._ask_about(chat)
        self._keep(unread=_with(self._kept().unread, chat, True))

    async def labels(self) -> tuple[Label, ...]:
        return self._kept().labels

    async def label_chat(self, chat: str, label: str, labeled: bool) -> None:
        await self._ask_about(chat)
        labels = self._kept().labels
        if label not in (one.id for one in labels):
            raise RequestFailed("not_allowed", f"there is no label {label}")
        self._keep(
            labels=tuple(
                structs.replace(one, chats=_with(one.chats, chat, labeled)) if one.id == label else one
                for one in labels
            )
        )

    def _kept(self) -> KeptAccount:
        self._require_me()
        return self._store.account(*self._key)

    def _keep(self, **facts: object) -> None:
        self._store.keep_account(*self._key, structs.replace(self._kept(), **facts))


def _with(listed: tuple[str, ...], jid: str, wanted: bool) -> tuple[str, ...]:
    others = tuple(one for one in listed if one != jid)
    return (*others, jid) if wanted else others
