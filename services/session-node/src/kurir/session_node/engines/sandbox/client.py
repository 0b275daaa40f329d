"""An engine without a phone: devices pair by a call, contacts behave by their number, receipts and replies come back.

Tenants test against it, demos and load run on it. What a contact does stands in `scenario`; what WhatsApp's server
would keep for a device that is not connected (receipts, replies) stands in `store`.
"""

import asyncio
import random
import re
import sqlite3
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

from kurir.contracts.content import media_of
from kurir.contracts.states import ConnectionState, Reason
from kurir.session_node.engines.engine import (
    Capability,
    CaughtUp,
    MediaFailed,
    NotConnected,
    NotPairing,
    OutcomeUnknown,
    Outgoing,
    ReceiptSeen,
    Received,
    Report,
    SendFailed,
    SendOrder,
    Sent,
    SessionSpec,
    StateChanged,
)
from kurir.session_node.engines.observations import CallSeen, Seen
from kurir.session_node.engines.sandbox import contacts, happenings
from kurir.session_node.engines.sandbox import scenario as scenarios
from kurir.session_node.engines.sandbox.account import Account
from kurir.session_node.engines.sandbox.contacts import Pace as Pace
from kurir.session_node.engines.sandbox.requesting import Requests
from kurir.session_node.engines.sandbox.scenario import Happening, Mishap, Scenario
from kurir.session_node.engines.sandbox.store import Mail, Store
from kurir.session_node.engines.sandbox.wheel import Wheel

REMEMBERED_TRIES = 10_000
REMEMBERED_CALLS = 100
CALLS_AGAIN_AFTER = timedelta(seconds=30)
_LINKING_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTVWXYZ"


def now_utc() -> datetime:
    return datetime.now(UTC)


class SandboxEngine:
    """Opens sandbox sessions. `state_dir` keeps receipts and replies that are still to come over a restart; without it
    they live in memory. `now` dates what is reported.
    """

    name = "sandbox"
    capabilities: frozenset[Capability] = frozenset(get_args(Capability))

    def __init__(
        self, state_dir: Path | None = None, *, pace: Pace | None = None, now: Callable[[], datetime] = now_utc
    ) -> None:
        self.pace = pace or Pace()
        self.now = now
        self.wheel = Wheel(self.pace.tick_s)
        self.wheel.after_each_tick(self._settle)
        self.store = Store(state_dir)
        self.banned_until: dict[str, datetime] = {}
        self._sessions: dict[tuple[str, str], SandboxSession] = {}
        self._acks: list[tuple[asyncio.Future[Sent], Sent]] = []

    async def start(self) -> None:
        self.store.open()

    async def open(self, spec: SessionSpec, report: Report) -> "SandboxSession":
        """Begin to connect or to pair. A session that is open for the same device is replaced, as at WhatsApp."""
        key = (spec.tenant, spec.device)
        former = self._sessions.get(key)
        session = self._sessions[key] = SandboxSession(self, spec, report)
        if former is not None:
            former.end("replaced", "device_replaced")
        asyncio.get_running_loop().call_soon(session.begin)
        return session

    async def forget(self, spec: SessionSpec) -> None:
        self.store.forget(spec.tenant, spec.device)

    async def stop(self) -> None:
        for session in list(self._sessions.values()):
            await session.close()
        self._settle()
        self.wheel.stop()
        self.store.close()

    def closed(self, session: "SandboxSession") -> None:
        """Called by a session that is over."""
        if self._sessions.get(session.key) is session:
            del self._sessions[session.key]

    def acknowledge(self, answer: "asyncio.Future[Sent]", sent: Sent) -> None:
        """Answer a send at the end of this tick, after what follows from it was kept."""
        self._acks.append((answer, sent))

    def _settle(self) -> None:
        try:
            self.store.flush()
        except sqlite3.Error as error:
            # The mail is still on the wheel; only a restart would lose it.
            asyncio.get_running_loop().call_exception_handler(
                {"message": "the sandbox cannot keep its mail", "exception": error}
            )
        acks, self._acks = self._acks, []
        for answer, sent in acks:
            if not answer.done():
                answer.set_result(sent)


Phase = Literal["starting", "pairing", "connected", "lost", "ended"]


class SandboxSession:
    """One device's connection to the sandbox. What it can be asked besides sending is done by Requests and Account."""

    def __init__(self, engine: SandboxEngine, spec: SessionSpec, report: Report) -> None:
        self.key = (spec.tenant, spec.device)
        self._engine = engine
        self._spec = spec
        self._report = report
        self._phase: Phase = "starting"
        self._jid = spec.jid
        self._timer: asyncio.TimerHandle | None = None
        self._in_flight: set[asyncio.Future[Sent]] = set()
        self._held: list[Callable[[], None]] = []
        self._tries: OrderedDict[str, int] = OrderedDict()
        self._login = 0
        self._rang: deque[tuple[str, datetime]] = deque(maxlen=REMEMBERED_CALLS)
        self.rejected: deque[str] = deque(maxlen=REMEMBERED_CALLS)

        asked = Requests(self.key, engine.store, lambda: engine.pace, engine.now, self._require_me, self._hear_soon)
        self.show_online, self.show_typing = asked.show_online, asked.show_typing
        self.watch_presence, self.mark_read = asked.watch_presence, asked.mark_read
        self.check_numbers, self.profile_picture = asked.check_numbers, asked.profile_picture
        self.contacts, self.groups, self.group = asked.contacts, asked.groups, asked.group
        self.create_group, self.change_members = asked.create_group, asked.change_members
        self.invite_link, self.leave_group, self.join_group = asked.invite_link, asked.leave_group, asked.join_group
        self.set_subject, self.set_description = asked.set_subject, asked.set_description
        self.set_group_rights, self.set_disappearing = asked.set_group_rights, asked.set_disappearing
        self.set_group_picture, self.invitation = asked.set_group_picture, asked.invitation
        account = Account(self.key, engine.store, self._require_me, asked.ask_about)
        self.about, self.set_name, self.set_about = account.about, account.set_name, account.set_about
        self.set_picture, self.remove_picture = account.set_picture, account.remove_picture
        self.privacy, self.set_privacy = account.privacy, account.set_privacy
        self.blocked, self.set_blocked = account.blocked, account.set_blocked
        self.archive_chat, self.mark_unread = account.archive_chat, account.mark_unread
        self.labels, self.label_chat = account.labels, account.label_chat

    @property
    def connected(self) -> bool:
        return self._phase == "connected"

    def begin(self) -> None:
        """Start to log in or to pair."""
        if self._phase != "starting":
            return
        self._report(StateChanged(state="connecting"))
        if self._jid is not None:
            self._in(self._engine.pace.login_s, self._log_in)
        elif self._spec.pair_phone is not None:
            self._show_code()
        else:
            self._show_qr(1)

    async def scan(self, phone: str | None) -> str:
        """Be the phone: confirm the code that is shown, as `phone` (digits) or as a number made up for the device."""
        if self._phase != "pairing":
            raise NotPairing
        digits = re.sub(r"\D", "", phone or self._spec.pair_phone or "") or contacts.made_up_phone(self.key)
        if scenarios.scenario_of(f"{digits}@s.whatsapp.net").passkey:
            self.end("passkey_required", "passkey_required")
            raise NotPairing
        self._jid = f"{digits}@s.whatsapp.net"
        self._phase = "starting"
        self._in(self._engine.pace.login_s, self._log_in)
        return self._jid

    async def send(self, order: SendOrder) -> Sent:
        """Send to a contact, who does what the scenario of its number says."""
        if not self.connected:
            raise NotConnected
        if not scenarios.is_recipient(order.to):
            raise SendFailed("invalid_recipient", order.to)
        if media_of(order.content) is not None:
            await self._upload(order.media)
            if not self.connected:
                raise NotConnected
        scenario = scenarios.scenario_of(order.to)
        answer: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        self._in_flight.add(answer)
        try:
            self._engine.wheel.after(self._answer_delay_s(order, scenario), self._answer, order, scenario, answer)
            return await answer
        finally:
            self._in_flight.discard(answer)

    def _require_me(self) -> str:
        if not self.connected or self._jid is None:
            raise NotConnected
        return self._jid

    async def logout(self) -> None:
        if not self.connected:
            raise NotConnected
        self._engine.store.forget(*self.key)
        self.end("logged_out", "requested")

    async def close(self) -> None:
        if self._phase != "ended":
            self._over("the session was closed")

    def end(self, state: ConnectionState, reason: Reason, banned_until: datetime | None = None) -> None:
        """The other side ends the session for good."""
        if self._phase == "ended":
            return
        self._report(StateChanged(state=state, reason=reason, banned_until=banned_until))
        self._over(f"the session ended: {state}")

    def _over(self, detail: str) -> None:
        self._phase = "ended"
        if self._timer is not None:
            self._timer.cancel()
        for answer in self._in_flight:
            if not answer.done():
                answer.set_exception(OutcomeUnknown(detail))
        self._held.clear()
        self._engine.closed(self)

    # --- connecting -------------------------------------------------------------------------------------------------

    def _show_qr(self, number: int) -> None:
        pace = self._engine.pace
        if number > pace.qr_codes:
            self._run_out()
            return
        valid_s = pace.qr_first_s if number == 1 else pace.qr_next_s
        self._phase = "pairing"
        self._report(
            StateChanged(
                state="qr",
                qr=f"kurir-sandbox:{self._spec.device}:{number}:{random.getrandbits(128):032x}",
                qr_expires_at=self._engine.now() + timedelta(seconds=valid_s),
            )
        )
        self._in(valid_s, self._show_qr, number + 1)

    def _show_code(self) -> None:
        pace = self._engine.pace
        self._phase = "pairing"
        code = "".join(random.choices(_LINKING_ALPHABET, k=8))
        self._report(StateChanged(state="pairing_code", pairing_code=f"{code[:4]}-{code[4:]}"))
        self._in(pace.qr_first_s + pace.qr_next_s * (pace.qr_codes - 1), self._run_out)

    def _run_out(self) -> None:
        self.end("disconnected", "qr_timeout")

    def _log_in(self) -> None:
        assert self._jid is not None
        banned_until = self._engine.banned_until.get(self._jid)
        if banned_until is not None and banned_until > self._engine.now():
            self.end("banned", "device_banned", banned_until)
            return
        phone = self._jid.partition("@")[0].partition(":")[0]
        self._phase = "connected"
        self._report(
            StateChanged(
                state="connected",
                jid=self._jid,
                lid=contacts.lid_of(phone),
                phone=phone,
                push_name=self._engine.store.account(*self.key).name or f"Sandbox {phone[-4:]}",
            )
        )
        self._login += 1
        for mail in self._engine.store.waiting(*self.key):
            self._expect(mail)
        self._engine.wheel.after(0, self._catch_up, self._login)
        held, self._held = self._held, []
        for answer in held:
            answer()

    def _lose_connection(self) -> None:
        if not self.connected:
            return
        self._phase = "lost"
        self._report(StateChanged(state="disconnected", reason="connection_lost"))
        self._in(self._engine.pace.reconnect_s, self._log_in)

    # --- sending ----------------------------------------------------------------------------------------------------

    async def _upload(self, media: Outgoing | None) -> None:
        """Read the media as an upload would. Raises SendFailed; nothing was sent then."""
        if media is None:
            raise SendFailed("media_missing", "the order has no media")
        size = 0
        try:
            async with asyncio.timeout(self._engine.pace.upload_timeout_s):
                async for chunk in media.chunks():
                    size += len(chunk)
        except MediaFailed as error:
            raise SendFailed(error.reason, error.detail, error.retry_after_s) from error
        except TimeoutError as error:
            raise SendFailed("media_missing", "the media could not be read in time") from error
        if size != media.media.size:
            raise SendFailed("media_refused", f"{size} bytes instead of {media.media.size}")

    def _answer_delay_s(self, order: SendOrder, scenario: Scenario) -> float:
        pace = self._engine.pace
        if scenario.slow:
            delay_s = pace.slow_s
        elif scenario.unknown and scenario.mishap is None:
            delay_s = pace.timeout_s
        else:
            delay_s = random.uniform(*pace.ack_s)
        return delay_s + order.typing_ms / 1000

    def _answer(self, order: SendOrder, scenario: Scenario, answer: "asyncio.Future[Sent]") -> None:
        if answer.done():
            return
        if self._phase == "lost":
            # WhatsApp clients send again what was in flight when the connection dropped.
            self._held.append(lambda: self._answer(order, scenario, answer))
            return
        refused = scenarios.refusal(scenario, order.content, self._attempt(order, scenario))
        if refused is not None:
            answer.set_exception(SendFailed(refused, scenario.summary, scenario.retry_after_s))
        elif scenario.unknown:
            answer.set_exception(OutcomeUnknown(scenario.summary))
        else:
            sent = Sent(whatsapp_id=contacts.whatsapp_id(), sent_at=self._engine.now(), chat=contacts.address(order.to))
            mail = contacts.consequences(self.key, order, scenario, sent, self._engine.pace)
            if mail is not None:
                self._engine.store.keep(mail)
                self._expect(mail)
            if scenario.happens is not None:
                self._foresee(scenario.happens, sent)
            self._engine.acknowledge(answer, sent)
        if scenario.mishap is not None:
            # After this tick, so that the answer is known before the misfortune.
            self._engine.wheel.after(0, self._befall, scenario.mishap)

    def _attempt(self, order: SendOrder, scenario: Scenario) -> int:
        if scenario.times is None:
            return 1
        attempt = self._tries[order.message_id] = self._tries.pop(order.message_id, 0) + 1
        if len(self._tries) > REMEMBERED_TRIES:
            self._tries.popitem(last=False)
        return attempt

    def _befall(self, mishap: Mishap) -> None:
        if mishap == "connection_lost":
            self._lose_connection()
        elif mishap == "logged_out":
            self.end("logged_out", "device_logged_out")
        elif mishap == "replaced":
            self.end("replaced", "device_replaced")
        elif mishap == "outdated":
            self.end("outdated", "client_outdated")
        else:
            until = self._engine.now() + timedelta(seconds=self._engine.pace.ban_s)
            if self._jid is not None:
                self._engine.banned_until[self._jid] = until
            self.end("banned", "device_banned", until)

    # --- hearing ----------------------------------------------------------------------------------------------------

    def _expect(self, mail: Mail) -> None:
        """Report the mail's parts when they are due, in this login; another login reads the store again."""
        now = self._engine.now()
        for receipt in mail.receipts:
            self._engine.wheel.after((receipt.at - now).total_seconds(), self._hear, mail, receipt, self._login)
        mail.left = len(mail.receipts)
        if mail.reply is not None:
            self._engine.wheel.after(
                (mail.reply.sent_at - now).total_seconds(), self._hear, mail, mail.reply, self._login
            )
            mail.left += 1

    def _catch_up(self, login: int) -> None:
        """After what was due already."""
        if self.connected and login == self._login:
            self._report(CaughtUp())

    def _foresee(self, happens: Happening, sent: Sent) -> None:
        """Report what happens after a message when its time has come, if this login lasts till then."""
        now, me = self._engine.now(), contacts.address(self._jid or "")
        if happens == "call":
            # Or who writes to everybody who calls would be called for ever.
            if any(who == sent.chat.jid and now - at < CALLS_AGAIN_AFTER for who, at in self._rang):
                return
            self._rang.append((sent.chat.jid, now))
        for at, seen in happenings.after(happens, sent, me, self._engine.pace):
            self._engine.wheel.after((at - now).total_seconds(), self._see, seen, self._login)

    def _hear_soon(self, seen: Seen) -> None:
        self._engine.wheel.after(0, self._see, seen, self._login)

    async def reject_call(self, caller: str, call_id: str) -> None:
        """The phone of the caller rings no longer: the call is not reported as missed."""
        self._require_me()
        self.rejected.append(call_id)

    def _see(self, seen: Seen | Received, login: int) -> None:
        is_over = isinstance(seen, CallSeen) and seen.call_id in self.rejected
        if self.connected and login == self._login and not is_over:
            self._report(seen)

    def _hear(self, mail: Mail, observation: ReceiptSeen | Received, login: int) -> None:
        if not self.connected or login != self._login:
            return
        self._report(observation)
        mail.left -= 1
        if mail.left <= 0:
            self._engine.store.done(mail)

    # --- small things -----------------------------------------------------------------------------------------------

    def _in(self, delay_s: float, call: Callable[..., None], *args: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, call, *args)
