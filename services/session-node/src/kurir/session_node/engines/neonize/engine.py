"""Speaks WhatsApp by the neonize library: one engine for all sessions of a process (session.py is one of them)."""

import asyncio
from collections.abc import Callable

from kurir.runtime.addresses import AddressGuard
from kurir.session_node.engines.engine import Capability, Report, SessionSpec
from kurir.session_node.engines.neonize import library as lib
from kurir.session_node.engines.neonize.device_store import DeviceStore
from kurir.session_node.engines.neonize.former_links import FormerLinks
from kurir.session_node.engines.neonize.gate import Gate
from kurir.session_node.engines.neonize.library import Library
from kurir.session_node.engines.neonize.media_forms import MediaForms
from kurir.session_node.engines.neonize.sending import ACK_TIMEOUT_S, Transfers
from kurir.session_node.engines.neonize.session import NeonizeSession
from kurir.session_node.engines.neonize.shared import Shared
from kurir.session_node.engines.neonize.way_out import WayOut
from kurir.session_node.engines.neonize.workers import Workers

CALLS_HEADROOM = 32
QUESTIONS_AT_ONCE = 32  # of all sessions; one that WhatsApp does not answer keeps its thread for 75 s
PAIRINGS_AT_ONCE = 4
PUBLIC_ADDRESSES = AddressGuard(require_https=False)


class NeonizeEngine:
    """Opens sessions on neonize. `store` keeps the devices' keys.

    `proxy` is the URL (http, https or socks5) through which every connection goes whose device has none of its own;
    None dials WhatsApp directly, and has to be said. `proxy_guard` judges devices' own proxies. At most `max_sessions`
    sessions, 200 is what one process is known to bear. A message that WhatsApp does not acknowledge within
    `ack_timeout_s` has an unknown outcome.
    """

    name = "neonize"
    capabilities: frozenset[Capability] = frozenset(
        {
            "pair_qr",
            "pair_code",
            "send.text",
            "send.image",
            "send.video",
            "send.audio",
            "send.document",
            "send.sticker",
            "send.location",
            "send.contact",
            "send.poll",
            "send.list",
            "send.reaction",
            "send.edit",
            "send.revoke",
            "send.quote",
            "send.mentions",
            "send.status",
            "presence",
            "mark_read",
            "check_numbers",
            "profile_picture",
            "contacts",
            "groups",
            "profile",
            "privacy",
            "blocking",
            "reject_calls",
        }
    )

    def __init__(
        self,
        store: DeviceStore,
        *,
        proxy: str | None,
        proxy_guard: AddressGuard = PUBLIC_ADDRESSES,
        max_sessions: int = 200,
        ack_timeout_s: float = ACK_TIMEOUT_S,
        load: Callable[[], Library] = lib.load,
    ) -> None:
        self._store = store
        self._proxy, self._proxy_guard = proxy, proxy_guard
        self._max_sessions = max_sessions
        self._ack_timeout_s = ack_timeout_s
        self._load = load
        self._shared: Shared | None = None
        self._sessions: dict[tuple[str, str], NeonizeSession] = {}

    async def start(self) -> None:
        """Load the library. Raises LibraryUnavailable."""
        library = await asyncio.to_thread(self._load)
        workers = Workers(self._max_sessions + CALLS_HEADROOM)
        self._shared = Shared(
            library=library,
            store=self._store,
            way_out=WayOut(self._proxy, self._proxy_guard),
            workers=workers,
            questions=Workers(QUESTIONS_AT_ONCE, "neonize-question"),
            gate=Gate(workers),
            forms=MediaForms(workers.run),
            transfers=Transfers(),
            pairings=asyncio.Semaphore(PAIRINGS_AT_ONCE),
            former_links=FormerLinks(),
            capabilities=self.capabilities,
            ack_timeout_s=self._ack_timeout_s,
        )
        await self._store.start(self._store_lost)

    async def open(self, spec: SessionSpec, report: Report) -> NeonizeSession:
        """Begin to log in or to pair. A session that is open for the same device is closed first."""
        assert self._shared is not None, "the engine was not started"
        former = self._sessions.get((spec.tenant, spec.device))
        session = NeonizeSession(self._shared, spec, report, self._closed, former)
        self._sessions[session.key] = session
        session.begin()
        return session

    async def forget(self, spec: SessionSpec) -> None:
        """Remove the device's keys. Idempotent; closes its session. Raises StoreUnavailable."""
        session = self._sessions.get((spec.tenant, spec.device))
        if session is not None:
            await session.close()
        await self._store.forget(spec.tenant, spec.device)

    async def stop(self) -> None:
        await asyncio.gather(*(session.close() for session in list(self._sessions.values())))
        if self._shared is not None:
            self._shared.former_links.abandon()
            self._shared.questions.stop()
            self._shared.workers.stop()
            self._shared.way_out.close()
        await self._store.stop()

    def _store_lost(self, why: str) -> None:
        for session in self._sessions.values():
            session.lose_store(why)

    def _closed(self, session: NeonizeSession) -> None:
        if self._sessions.get(session.key) is session:
            del self._sessions[session.key]
