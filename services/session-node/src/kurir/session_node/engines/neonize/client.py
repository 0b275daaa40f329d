"""Sessions of real WhatsApp accounts on the neonize library.

Guarantees: an ack is `sent` and nothing more; observations arrive in the order in which WhatsApp's server sent them; no
call lasts for ever. Does not guarantee: that a message received in the last moments before the process is killed was
reported (whatsmeow acknowledges before we hear of it), nor that WhatsApp likes what is sent.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from kurir.contracts.states import Reason
from kurir.runtime.addresses import AddressGuard
from kurir.runtime.settings import mask_url_password
from kurir.session_node.engines.engine import (
    Capability,
    CaughtUp,
    MediaFailed,
    NotConnected,
    Observation,
    Report,
    SendOrder,
    Sent,
    SessionSpec,
    StateChanged,
)
from kurir.session_node.engines.neonize import library as lib
from kurir.session_node.engines.neonize.address_book import AddressBook
from kurir.session_node.engines.neonize.device_store import DeviceStore, StoreUnavailable
from kurir.session_node.engines.neonize.gate import Gate
from kurir.session_node.engines.neonize.library import Library, Opening
from kurir.session_node.engines.neonize.link import Link
from kurir.session_node.engines.neonize.media_forms import MediaForms
from kurir.session_node.engines.neonize.pairing import PairingFailed, PairingOrder, pair
from kurir.session_node.engines.neonize.quiet import Quiet
from kurir.session_node.engines.neonize.requesting import Requests
from kurir.session_node.engines.neonize.sending import (
    ACK_TIMEOUT_S,
    MAX_MEDIA_BYTES,
    MEDIA_TIMEOUT_S,
    Sender,
    Transfers,
)
from kurir.session_node.engines.neonize.telling import LOOK_UP_S, Telling
from kurir.session_node.engines.neonize.way_out import NoWayOut, WayOut, reason_not_opened
from kurir.session_node.engines.neonize.workers import Workers

log = logging.getLogger(__name__)

LOGOUT_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 25.0
LEAVE_TIMEOUT_S = 120.0  # Go gives a proxy a minute to answer, the kernel two for a connection
PATIENCE_S = 180.0  # whatsmeow waits longer after each failure; a new client starts afresh
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0
CALLS_HEADROOM = 32
QUESTIONS_AT_ONCE = 32  # of all sessions; one that WhatsApp does not answer keeps its thread for 75 s
PAIRINGS_AT_ONCE = 4
PUBLIC_ADDRESSES = AddressGuard(require_https=False)
CHUNK_BYTES = 256 * 1024


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
            "send.reaction",
            "send.edit",
            "send.revoke",
            "send.quote",
            "send.mentions",
            "presence",
            "mark_read",
            "check_numbers",
            "profile_picture",
            "contacts",
            "groups",
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
        self.store = store
        self._proxy, self._proxy_guard = proxy, proxy_guard
        self.ack_timeout_s = ack_timeout_s
        self.workers = Workers(max_sessions + CALLS_HEADROOM)
        self.questions = Workers(QUESTIONS_AT_ONCE, "neonize-question")
        self.gate = Gate(self.workers)
        self.forms = MediaForms(self.workers.run)
        self.transfers = Transfers()
        self.pairings = asyncio.Semaphore(PAIRINGS_AT_ONCE)
        self._load = load
        self._library: Library | None = None
        self._way_out: WayOut | None = None
        self._sessions: dict[tuple[str, str], NeonizeSession] = {}
        self._leaving: dict[tuple[str, str], Link] = {}

    @property
    def library(self) -> Library:
        assert self._library is not None, "the engine was not started"
        return self._library

    @property
    def way_out(self) -> WayOut:
        assert self._way_out is not None, "the engine was not started"
        return self._way_out

    async def start(self) -> None:
        """Load the library. Raises LibraryUnavailable."""
        self._way_out = WayOut(self._proxy, self._proxy_guard)
        self._library = await asyncio.to_thread(self._load)
        await self.store.start(self._store_lost)

    async def open(self, spec: SessionSpec, report: Report) -> "NeonizeSession":
        """Begin to log in or to pair. A session that is open for the same device is closed first."""
        key = (spec.tenant, spec.device)
        former = self._sessions.get(key)
        session = self._sessions[key] = NeonizeSession(self, spec, report, former)
        session.begin()
        return session

    async def forget(self, spec: SessionSpec) -> None:
        """Remove the device's keys. Idempotent; closes its session. Raises StoreUnavailable."""
        session = self._sessions.get((spec.tenant, spec.device))
        if session is not None:
            await session.close()
        await self.store.forget(spec.tenant, spec.device)

    async def stop(self) -> None:
        await asyncio.gather(*(session.close() for session in list(self._sessions.values())))
        for link in self._leaving.values():
            link.abandon()
        self.questions.stop()
        self.workers.stop()
        if self._way_out is not None:
            self._way_out.close()
        await self.store.stop()

    def _store_lost(self, why: str) -> None:
        for session in self._sessions.values():
            session.lose_store(why)

    async def leave(self, key: tuple[str, str], link: Link) -> None:
        """Stop a device's link; one that hangs in a dial is remembered until it is gone."""
        await link.stop()
        if not await link.gone(0):
            self._leaving[key] = link

    async def left(self, key: tuple[str, str]) -> None:
        """Wait for the device's former link: connected late, it would take the connection from the next one."""
        link = self._leaving.pop(key, None)
        if link is not None and not await link.gone(LEAVE_TIMEOUT_S):
            log.warning("a former client of device %s still hangs in its dial", key[1])

    def closed(self, session: "NeonizeSession") -> None:
        if self._sessions.get(session.key) is session:
            del self._sessions[session.key]


class NeonizeSession:
    """One account's connection: a task that keeps a link open until the session ends or is closed.

    What it can be asked besides sending (engines/requests.py) is done by Requests.
    """

    def __init__(
        self, engine: NeonizeEngine, spec: SessionSpec, report: Report, former: "NeonizeSession | None" = None
    ) -> None:
        self.key = (spec.tenant, spec.device)
        self.transfers = engine.transfers
        self._engine = engine
        self._spec = spec
        self._former = former
        self._task: asyncio.Task[None] | None = None
        self._link: Link | None = None
        self._link_is_over: asyncio.Future[str] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._connected = False
        self._was_connected = False
        self._store_is_lost = False
        self._is_closing = False
        self._over = False
        self._refusal_code: int | None = None
        self._me = StateChanged(state="connected")
        self._people = AddressBook()
        self._telling = Telling(report, self._people, self._number_of)
        self._quiet = Quiet()
        self._sender = Sender(
            engine.library,
            engine.capabilities,
            self._people,
            engine.forms,
            engine.transfers,
            self._quiet,
            self._require_link,
            self._finish_link,
            self._tell,
            ack_timeout_s=engine.ack_timeout_s,
        )

        asked = Requests(engine.library, engine.questions, self._people, self._require_link)
        self.show_online, self.show_typing = asked.show_online, asked.show_typing
        self.watch_presence, self.mark_read = asked.watch_presence, asked.mark_read
        self.check_numbers, self.profile_picture = asked.check_numbers, asked.profile_picture
        self.contacts, self.groups, self.group = asked.contacts, asked.groups, asked.group
        self.create_group, self.change_members = asked.create_group, asked.change_members
        self.invite_link, self.leave_group, self.join_group = asked.invite_link, asked.leave_group, asked.join_group
        self.set_subject, self.set_description = asked.set_subject, asked.set_description

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._live(), name=f"neonize {self._spec.device}")

    async def send(self, order: SendOrder) -> Sent:
        """Send one message; messages of one session go one after the other.

        Raises SendFailed, OutcomeUnknown or NotConnected.
        """
        return await self._sender.send(order)

    def _require_link(self) -> Link:
        if not self._connected or self._over or self._link is None:
            raise NotConnected
        return self._link

    async def fetch(self, message: bytes) -> bytes:
        """The decrypted media of a received message. Raises MediaFailed."""
        from kurir.session_node.engines.neonize import from_whatsapp

        try:
            answer = await self._require_link().call(self._engine.library.download, message, timeout_s=MEDIA_TIMEOUT_S)
        except NotConnected as error:
            # While the connection is restored it may be asked for again; a session that is over will never have it.
            raise MediaFailed("media_fetch_failed" if self._over else "device_offline", "not connected") from error
        except TimeoutError as error:
            raise MediaFailed("media_timeout", "the download took too long") from error
        data, error_text = from_whatsapp.downloaded(answer)
        if error_text:
            raise MediaFailed(from_whatsapp.download_failure(error_text), error_text)
        return data

    # --- ending -----------------------------------------------------------------------------------------------------

    async def logout(self) -> None:
        """Unlink the device and forget its keys. Raises NotConnected."""
        link = self._require_link()
        try:
            error = await link.call(self._engine.library.logout, timeout_s=LOGOUT_TIMEOUT_S)
        except TimeoutError as timeout:
            raise NotConnected from timeout
        if error:
            log.warning("WhatsApp did not unlink device %s: %s", self._spec.device, error)
            raise NotConnected
        self._end(StateChanged(state="logged_out", reason="requested"))
        await self._engine.forget(self._spec)

    async def close(self) -> None:
        """Close the connection and keep the pairing; what was received until then is reported. Idempotent."""
        self._is_closing = True
        self._connected = False
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CLOSE_TIMEOUT_S)
        self._telling.flush()
        self._over = True
        self._engine.closed(self)

    def _end(self, state: StateChanged) -> None:
        """The session is over for good; its task closes the link."""
        if self._over:
            return
        self._tell(state)
        self._over = True
        self._connected = False
        self._finish_link(f"the session ended: {state.state}")

    # --- living -----------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        try:
            if self._former is not None:
                former, self._former = self._former, None
                former._end(StateChanged(state="replaced", reason="device_replaced"))
                await former.close()
            self._tell(StateChanged(state="connecting"))
            await self._stay_connected(self._spec.jid or await self._pair())
        except PairingFailed as failure:
            self._end(failure.state)
        except StoreUnavailable as error:
            self._end(StateChanged(state="disconnected", reason="device_store_unavailable", detail=str(error)))
        except NoWayOut as error:
            self._end(StateChanged(state="disconnected", reason=error.reason, detail=str(error)))
        except Exception as error:
            log.exception("session of device %s failed", self._spec.device)
            self._end(
                StateChanged(state="disconnected", reason="engine_error", detail=f"{type(error).__name__}: {error}")
            )
        finally:
            self._engine.closed(self)

    async def _pair(self) -> str:
        """Pair and return the JID. Raises PairingFailed, StoreUnavailable or NoWayOut."""
        store = self._engine.store
        # Keys of a former pairing are of no use: the device would log in as what it was.
        await store.forget(*self.key)
        async with self._engine.pairings:
            order = PairingOrder(
                database=await store.database_for_child(*self.key),
                device_name=self._spec.name,
                proxy=await self._engine.way_out.of(self._spec.proxy),
                phone=self._spec.pair_phone,
            )
            try:
                jid = await pair(order, self._tell, self._hear)
            except PairingFailed as failure:
                if failure.state.reason != "server_unavailable":
                    raise
                why = failure.state.detail or ""
                raise PairingFailed(reason_not_opened(why, self._spec.proxy), mask_url_password(why)) from failure
        await store.keep(*self.key, jid)
        return jid

    async def _stay_connected(self, jid: str) -> None:
        """Open one link after the other until the session is over."""
        retry_s = FIRST_RETRY_S
        while not self._over:
            await self._engine.left(self.key)
            self._was_connected = False
            lost = await self._hold_link(jid)
            if self._over:
                return
            self._tell(lost)
            retry_s = FIRST_RETRY_S if self._was_connected else min(retry_s * 2, LONGEST_RETRY_S)
            await asyncio.sleep(retry_s * random.uniform(0.5, 1.0))
            self._tell(StateChanged(state="connecting"))

    async def _hold_link(self, jid: str) -> StateChanged:
        """Open a link and wait until it is over; how it ended. Without keys the session ends."""
        from kurir.session_node.engines.neonize import to_whatsapp

        try:
            if not await self._engine.store.has(*self.key, jid):
                gone = StateChanged(
                    state="logged_out", reason="device_logged_out", detail="the device's keys are not in the store"
                )
                self._end(gone)
                return gone
            opening = Opening(
                database=await self._engine.store.database(*self.key),
                jid=to_whatsapp.jid(jid).SerializeToString(),
                device_props=to_whatsapp.device_props(self._spec.name),
                proxy=await self._engine.way_out.of(self._spec.proxy),
            )
        except StoreUnavailable as error:
            return StateChanged(state="disconnected", reason="device_store_unavailable", detail=str(error))
        except NoWayOut as error:
            return StateChanged(state="disconnected", reason=error.reason, detail=str(error))
        over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._link_is_over, self._store_is_lost, self._refusal_code = over, False, None
        link = self._link = Link(self._engine.library, self._engine.workers, self._engine.gate, opening, self._hear)
        link.ended.add_done_callback(partial(_pass_on, over))
        self._be_patient()
        self._quiet.connecting()
        self._sender.has_new_link()
        try:
            await link.open()
            why = await over
        finally:
            self._lose()
            await asyncio.shield(self._engine.leave(self.key, link))
        return StateChanged(
            state="disconnected",
            reason=self._reason_for(why),
            detail=mask_url_password(why),
            code=self._refusal_code,
        )

    def _reason_for(self, why: str) -> Reason:
        if self._store_is_lost:
            return "device_store_unavailable"
        return "connection_lost" if self._was_connected else reason_not_opened(why, self._spec.proxy)

    def lose_store(self, why: str) -> None:
        """The keys cannot be reached any more: leave WhatsApp, which then keeps what comes."""
        self._store_is_lost = True
        self._finish_link(why)

    def _finish_link(self, why: str) -> None:
        if self._link_is_over is not None and not self._link_is_over.done():
            self._link_is_over.set_result(why)

    # --- hearing ----------------------------------------------------------------------------------------------------

    def _hear(self, kind: int, data: bytes) -> None:
        """One event of the library, on the loop, in order."""
        if self._over or (self._is_closing and kind not in (lib.MESSAGE, lib.RECEIPT)):
            return
        try:
            self._understand(kind, data)
        except Exception:
            log.exception("an event of kind %s of device %s was not understood", kind, self._spec.device)

    def _understand(self, kind: int, data: bytes) -> None:
        from kurir.session_node.engines.neonize import from_whatsapp

        if kind == lib.MESSAGE:
            received = from_whatsapp.received(data, self._own_jids(), self._attachment)
            if received is not None:
                chat, sender = self._people.complete(received.chat), self._people.complete(received.sender)
                self._quiet.heard((chat.jid, chat.pn, chat.lid))
                self._tell(msgspec.structs.replace(received, chat=chat, sender=sender))
        elif kind == lib.RECEIPT:
            receipt = from_whatsapp.receipt(data)
            if receipt is not None:
                self._sender.hear(receipt)
        elif kind == lib.OFFLINE_SYNC_COMPLETED:
            self._quiet.caught_up()
            self._tell(CaughtUp())
        elif kind == lib.DEVICE:
            self._me = from_whatsapp.connected(data)
        elif kind == lib.KEEPALIVE_RESTORED:
            self._quiet.caught_up()  # the connection is the same one, and nothing waited for it
            self._gain()
            self._tell(CaughtUp())
        elif kind == lib.CONNECTED:
            self._gain()
        elif kind in (lib.DISCONNECTED, lib.KEEPALIVE_TIMEOUT):
            self._drop("no answer to keepalives" if kind == lib.KEEPALIVE_TIMEOUT else None)
        elif kind == lib.CONNECT_FAILURE:
            why, self._refusal_code = from_whatsapp.connect_failure(data)
            self._was_connected = False  # what is to be said is that the server refuses us
            self._finish_link(why)
        else:
            final = from_whatsapp.final_state(kind, data, datetime.now(UTC))
            if final is not None:
                self._end(final)
                return
            for seen in from_whatsapp.seen(kind, data, self._own_jids()):
                self._tell(seen)

    def _gain(self) -> None:
        self._stop_waiting()
        if not self._connected:
            self._connected = self._was_connected = True
            self._tell(self._me)

    def _drop(self, detail: str | None) -> None:
        """The connection dropped; whatsmeow reconnects."""
        if not self._connected:
            return
        self._connected = False
        self._quiet.connecting()
        self._tell(StateChanged(state="disconnected", reason="connection_lost", detail=detail))
        self._patience = asyncio.get_running_loop().call_later(
            PATIENCE_S, self._finish_link, "no reconnect for minutes"
        )

    def _lose(self) -> None:
        """The link is gone."""
        self._connected = False
        self._stop_waiting()

    def _be_patient(self) -> None:
        """Wait for a connection; after PATIENCE_S a new client takes the place of this one."""
        self._stop_waiting()
        self._patience = asyncio.get_running_loop().call_later(
            PATIENCE_S, self._finish_link, "no connection for minutes"
        )

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _own_jids(self) -> frozenset[str]:
        return frozenset(filter(None, (self._me.lid, f"{self._me.phone}@s.whatsapp.net")))

    def _attachment(self, message: Any) -> "NeonizeAttachment":
        return NeonizeAttachment(self, message)

    def _tell(self, observation: Observation) -> None:
        if not self._over:
            self._telling.tell(observation)

    async def _number_of(self, hidden: str) -> str | None:
        from kurir.session_node.engines.neonize import from_whatsapp, to_whatsapp

        jid = to_whatsapp.jid(hidden).SerializeToString()
        answer = await self._require_link().call(
            self._engine.library.ask, "GetPNFromLID", (jid, len(jid)), timeout_s=LOOK_UP_S
        )
        return from_whatsapp.number_of(answer)


def _pass_on(link_is_over: "asyncio.Future[str]", ended: "asyncio.Future[str]") -> None:
    if not link_is_over.done():
        link_is_over.set_result(ended.result())


class NeonizeAttachment:
    """Media of a received message; the library fetches and decrypts it whole."""

    def __init__(self, session: NeonizeSession, message: Any) -> None:
        field, part = next((field, part) for field, part in message.ListFields() if hasattr(part, "fileEncSHA256"))
        self._session = session
        self._message: bytes = message.SerializeToString()
        self.mimetype: str = part.mimetype
        self.size: int | None = part.fileLength or None
        self.file_name: str | None = part.fileName or None if field.name == "documentMessage" else None

    async def chunks(self) -> AsyncIterator[bytes]:
        if (self.size or 0) > MAX_MEDIA_BYTES:
            raise MediaFailed("media_too_large", f"{self.size} bytes are more than {MAX_MEDIA_BYTES}")
        async with self._session.transfers.room(self.size or MAX_MEDIA_BYTES):
            data = await self._session.fetch(self._message)
            for start in range(0, len(data), CHUNK_BYTES):
                yield data[start : start + CHUNK_BYTES]
