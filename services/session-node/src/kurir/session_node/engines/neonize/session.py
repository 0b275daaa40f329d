"""One account's connection on the neonize library, from logging in or pairing until it ends or is closed.

Guarantees: an ack is `sent` and nothing more; observations arrive in the order in which WhatsApp's server sent them; no
call lasts for ever. Does not guarantee: that a message received in the last moments before the process is killed was
reported (whatsmeow acknowledges before we hear of it), nor that WhatsApp likes what is sent.
"""

import asyncio
import functools
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from kurir.contracts.content import Unsupported
from kurir.runtime.settings import mask_url_password
from kurir.session_node.engines.engine import (
    CaughtUp,
    MediaFailed,
    NotConnected,
    Observation,
    Received,
    Report,
    SendOrder,
    Sent,
    SessionSpec,
    StateChanged,
)
from kurir.session_node.engines.neonize import library as lib
from kurir.session_node.engines.neonize.account import Account
from kurir.session_node.engines.neonize.address_book import AddressBook
from kurir.session_node.engines.neonize.attachment import NeonizeAttachment
from kurir.session_node.engines.neonize.connection import Connection
from kurir.session_node.engines.neonize.device_store import StoreUnavailable
from kurir.session_node.engines.neonize.library import Opening
from kurir.session_node.engines.neonize.link import Link
from kurir.session_node.engines.neonize.pairing import PairingFailed, PairingOrder, pair
from kurir.session_node.engines.neonize.quiet import Quiet
from kurir.session_node.engines.neonize.requesting import Requests
from kurir.session_node.engines.neonize.sending import MEDIA_TIMEOUT_S, Sender
from kurir.session_node.engines.neonize.shared import Shared
from kurir.session_node.engines.neonize.telling import LOOK_UP_S, Telling
from kurir.session_node.engines.neonize.way_out import NoWayOut, reason_not_opened

log = logging.getLogger(__name__)

LOGOUT_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 25.0
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0


class NeonizeSession:
    """A task keeps a link open until the session ends or is closed; then `on_closed` is called. `former` is a session
    of the same device, which ends first.

    What it can be asked besides sending (engines/requests.py) is done by Requests and Account.
    """

    def __init__(
        self,
        shared: Shared,
        spec: SessionSpec,
        report: Report,
        on_closed: "Callable[[NeonizeSession], None]",
        former: "NeonizeSession | None" = None,
    ) -> None:
        self.key = (spec.tenant, spec.device)
        self._shared = shared
        self._spec = spec
        self._on_closed = on_closed
        self._former = former
        self._task: asyncio.Task[None] | None = None
        self._connection = Connection(spec.proxy)
        self._is_closing = False
        self._over = False
        self._me = StateChanged(state="connected")
        self._people = AddressBook()
        self._telling = Telling(report, self._people, self._number_of)
        self._quiet = Quiet()
        self._sender = Sender(
            shared.library,
            shared.capabilities,
            self._people,
            shared.forms,
            shared.transfers,
            self._quiet,
            self._require_link,
            self._give_up,
            self._tell,
            self._own_jid,
            ack_timeout_s=shared.ack_timeout_s,
        )

        asked = Requests(shared.library, shared.questions, self._people, shared.forms, self._require_link)
        self.ping = asked.ping
        self.show_online, self.show_typing = asked.show_online, asked.show_typing
        self.watch_presence, self.mark_read = asked.watch_presence, asked.mark_read
        self.check_numbers, self.profile_picture = asked.check_numbers, asked.profile_picture
        self.contacts, self.groups, self.group = asked.contacts, asked.groups, asked.group
        self.create_group, self.change_members = asked.create_group, asked.change_members
        self.invite_link, self.leave_group, self.join_group = asked.invite_link, asked.leave_group, asked.join_group
        self.set_subject, self.set_description = asked.set_subject, asked.set_description
        self.set_group_rights, self.set_disappearing = asked.set_group_rights, asked.set_disappearing
        self.set_group_picture, self.invitation = asked.set_group_picture, asked.invitation
        account = Account(asked.ask, self._people, self._number_of, shared.forms)
        self.about, self.set_name, self.set_about = account.about, account.set_name, account.set_about
        self.set_picture, self.privacy, self.set_privacy = account.set_picture, account.privacy, account.set_privacy
        self.blocked, self.set_blocked, self.reject_call = account.blocked, account.set_blocked, account.reject_call

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._live(), name=f"neonize {self._spec.device}")

    async def send(self, order: SendOrder) -> Sent:
        """Send one message; messages of one session go one after the other.

        Raises SendFailed, OutcomeUnknown or NotConnected.
        """
        return await self._sender.send(order)

    def _require_link(self) -> Link:
        return self._connection.require_link()

    def _give_up(self, why: str) -> None:
        self._connection.give_up(why)

    async def _fetch(self, message: bytes) -> bytes:
        """The decrypted media of a received message. Raises MediaFailed."""
        from kurir.session_node.engines.neonize import from_whatsapp

        try:
            answer = await self._require_link().call(self._shared.library.download, message, timeout_s=MEDIA_TIMEOUT_S)
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
            error = await link.call(self._shared.library.logout, timeout_s=LOGOUT_TIMEOUT_S)
        except TimeoutError as timeout:
            raise NotConnected from timeout
        if error:
            log.warning("WhatsApp did not unlink device %s: %s", self._spec.device, error)
            raise NotConnected
        self._end(StateChanged(state="logged_out", reason="requested"))
        await self.close()
        await self._shared.store.forget(*self.key)

    async def close(self) -> None:
        """Close the connection and keep the pairing; what was received until then is reported. Idempotent."""
        is_closing, self._is_closing = self._is_closing, True
        self._connection.is_up = False
        if self._task is not None and not self._task.done():
            if not is_closing:  # once, or the task ends before the connection does
                self._task.cancel()
            await asyncio.wait({self._task}, timeout=CLOSE_TIMEOUT_S)
        self._telling.flush()
        self._over = True
        self._on_closed(self)

    def _end(self, state: StateChanged) -> None:
        """The session is over for good; its task closes the link."""
        if self._over:
            return
        self._tell(state)
        self._over = True
        self._connection.give_up(f"the session ended: {state.state}")

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
            self._on_closed(self)

    async def _pair(self) -> str:
        """Pair and return the JID. Raises PairingFailed, StoreUnavailable or NoWayOut."""
        store = self._shared.store
        # Keys of a former pairing are of no use: the device would log in as what it was.
        await store.forget(*self.key)
        async with self._shared.pairings:
            order = PairingOrder(
                database=await store.database_for_child(*self.key),
                device_name=self._spec.name,
                proxy=await self._shared.way_out.of(self._spec.proxy),
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
        # Not every library lets a cancellation through that comes together with what it waits for.
        while not self._over and not self._is_closing:
            await self._shared.former_links.gone(self.key)
            self._connection = Connection(self._spec.proxy)
            lost = await self._hold_link(jid)
            if self._over:
                return
            self._tell(lost)
            retry_s = FIRST_RETRY_S if self._connection.was_up else min(retry_s * 2, LONGEST_RETRY_S)
            await asyncio.sleep(retry_s * random.uniform(0.5, 1.0))
            self._tell(StateChanged(state="connecting"))

    async def _hold_link(self, jid: str) -> StateChanged:
        """Open a link and wait until it is over; how it ended. Without keys the session ends."""
        from kurir.session_node.engines.neonize import to_whatsapp

        try:
            if not await self._shared.store.has(*self.key, jid):
                gone = StateChanged(
                    state="logged_out", reason="device_logged_out", detail="the device's keys are not in the store"
                )
                self._end(gone)
                return gone
            opening = Opening(
                database=await self._shared.store.database(*self.key),
                jid=to_whatsapp.jid(jid).SerializeToString(),
                device_props=to_whatsapp.device_props(self._spec.name),
                proxy=await self._shared.way_out.of(self._spec.proxy),
            )
        except StoreUnavailable as error:
            return StateChanged(state="disconnected", reason="device_store_unavailable", detail=str(error))
        except NoWayOut as error:
            return StateChanged(state="disconnected", reason=error.reason, detail=str(error))
        link = Link(self._shared.library, self._shared.workers, self._shared.gate, opening, self._hear)
        self._quiet.connecting()
        self._sender.has_new_link()
        try:
            return await self._connection.hold(link)
        finally:
            stands = self._connection.stands
            await asyncio.shield(self._shared.former_links.stop(self.key, link, is_connected=stands))

    def lose_store(self, why: str) -> None:
        """The keys cannot be reached any more: leave WhatsApp, which then keeps what comes."""
        self._connection.lose_store(why)

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
                self._tell_message(msgspec.structs.replace(received, chat=chat, sender=sender), data)
            elif (posted := from_whatsapp.status_posted(data)) is not None:
                self._tell(posted)
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
            self._drop(is_silent=kind == lib.KEEPALIVE_TIMEOUT)
        elif kind == lib.CONNECT_FAILURE:
            self._connection.refuse(*from_whatsapp.connect_failure(data))
        else:
            final = from_whatsapp.final_state(kind, data, datetime.now(UTC))
            if final is not None:
                self._end(final)
                return
            for seen in from_whatsapp.seen(kind, data, self._own_jids()):
                self._tell(seen)

    def _gain(self) -> None:
        if self._connection.gain():
            self._tell(self._me)

    def _drop(self, *, is_silent: bool) -> None:
        if self._connection.drop(is_silent=is_silent):
            self._quiet.connecting()
            detail = "no answer to keepalives" if is_silent else None
            self._tell(StateChanged(state="disconnected", reason="connection_lost", detail=detail))

    def _own_jids(self) -> frozenset[str]:
        return frozenset(filter(None, (self._me.lid, f"{self._me.phone}@s.whatsapp.net")))

    def _own_jid(self, chat: str) -> str:
        """Who we are in this chat: hidden ids and groups speak of each other by hidden ids."""
        number = f"{self._me.phone}@s.whatsapp.net"
        return number if chat.endswith("@s.whatsapp.net") else self._me.lid or number

    def _attachment(self, message: Any) -> NeonizeAttachment:
        return NeonizeAttachment(message, self._fetch, self._shared.transfers)

    def _tell(self, observation: Observation) -> None:
        if not self._over:
            self._telling.tell(observation)

    def _tell_message(self, received: Received, data: bytes) -> None:
        """A vote is sealed with a secret that the library's store has; one that cannot be opened is told as it is."""
        if not self._over:
            is_vote = received.content == Unsupported(whatsapp_type="pollUpdateMessage")
            self._telling.tell(received, functools.partial(self._open_vote, received, data) if is_vote else None)

    async def _open_vote(self, received: Received, data: bytes) -> Received:
        from kurir.session_node.engines.neonize import from_whatsapp

        link = self._require_link()
        answer = await link.call(self._shared.library.ask, "DecryptPollVote", (data, len(data)), timeout_s=LOOK_UP_S)
        vote = from_whatsapp.opened_vote(data, answer, self._own_jids())
        return received if vote is None else msgspec.structs.replace(received, content=vote)

    async def _number_of(self, hidden: str) -> str | None:
        from kurir.session_node.engines.neonize import from_whatsapp, to_whatsapp

        jid = to_whatsapp.jid(hidden).SerializeToString()
        answer = await self._require_link().call(
            self._shared.library.ask, "GetPNFromLID", (jid, len(jid)), timeout_s=LOOK_UP_S
        )
        return from_whatsapp.number_of(answer)
