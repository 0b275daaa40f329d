"""A device's session at its engine, while there is one: opened, sent through, asked whether it lives, closed.

One at a time; the owner sees to it. Reports of a session that was closed are heard by nobody.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import structlog

from kurir.contracts.records import SealedProxy
from kurir.runtime.proxies import seal_context
from kurir.runtime.secrets import SealBroken
from kurir.session_node.engine_room import EngineUnavailable
from kurir.session_node.engines.engine import (
    Capability,
    EngineSession,
    NotConnected,
    Observation,
    SendOrder,
    Sent,
    SessionSpec,
    StateChanged,
)
from kurir.session_node.shared import Shared
from kurir.session_node.watchdog import Watchdog

log = structlog.get_logger(__name__)

CLOSE_TIMEOUT_S = 30.0  # longer than an engine waits for a connection to be closed: the lease is released after it


class Connection:
    """`report` is called with what the session observes, `is_silent` when it says connected and does not answer."""

    def __init__(
        self,
        tenant: str,
        device_id: str,
        shared: Shared,
        report: Callable[[Observation], None],
        is_silent: Callable[[str], None],
    ) -> None:
        self._tenant = tenant
        self._device_id = device_id
        self._shared = shared
        self._report = report
        self._number = 0
        self.session: EngineSession | None = None
        """The open session, for what its engine can do besides sending."""
        self.capabilities: frozenset[Capability] = frozenset()
        """What the engine of the open session can do."""
        self.is_leaving = False
        """It is to be closed: no send begins any more."""
        self.no_send = asyncio.Event()
        """No send is under way whose outcome is not stored."""
        self.no_send.set()
        self.watchdog = Watchdog(shared.silent_after_s, lambda: self.session, is_silent)

    async def open(
        self, engine_name: str, *, name: str, jid: str | None, pair_phone: str | None, proxy: SealedProxy | None
    ) -> StateChanged | None:
        """Let the engine begin to connect; what comes of it is reported. Why it could not begin, None when it did."""
        self._number += 1
        try:
            spec = SessionSpec(
                tenant=self._tenant,
                device=self._device_id,
                name=name,
                jid=jid,
                pair_phone=pair_phone,
                proxy=self._opened(proxy),
            )
        except SealBroken as error:
            return StateChanged(state="disconnected", reason="proxy_refused", detail=str(error))
        try:
            engine = await self._shared.engines.engine(engine_name)
            self.capabilities = engine.capabilities
            self.session = await engine.open(spec, partial(self._hear, self._number))
        except EngineUnavailable as error:
            log.exception("session.engine_unavailable", device=self._device_id)
            return StateChanged(state="disconnected", reason="engine_unavailable", detail=str(error))
        except Exception as error:
            log.exception("session.not_opened", device=self._device_id)
            return StateChanged(state="disconnected", reason="server_unavailable", detail=repr(error))
        self._shared.meters.sessions_opened.add()
        return None

    def _opened(self, proxy: SealedProxy | None) -> str | None:
        """Raises SealBroken."""
        if proxy is None:
            return None
        if self._shared.master_key is None:
            raise SealBroken("This node has no master key to open the device's proxy with.")
        return self._shared.master_key.open(proxy.sealed, seal_context(self._tenant, self._device_id))

    def _hear(self, number: int, observation: Observation) -> None:
        if number == self._number:
            self.watchdog.heard()
            self._report(observation)

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Around a send until its outcome is stored."""
        self.no_send.clear()
        try:
            yield
        finally:
            self.no_send.set()

    async def send(self, order: SendOrder) -> Sent:
        """Raises what EngineSession.send raises."""
        if self.session is None or self.is_leaving:
            raise NotConnected
        return await self.session.send(order)

    async def let_send_end(self, within_s: float) -> None:
        """Wait for the send under way; none begins any more until the session is closed."""
        self.is_leaving = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.no_send.wait()

    async def close(self, *, grace_s: float) -> None:
        """Close the session, if there is one, and keep the pairing; a send under way has `grace_s` to end."""
        self.watchdog.stop()
        if self.session is not None:
            if grace_s > 0:
                await self.let_send_end(grace_s)
            await self.cut()
            self.session = None
        self.is_leaving = False

    async def cut(self) -> None:
        """Have the engine end the session, whoever is just opening, using or closing it."""
        if self.session is None:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.session.close()
        except Exception as error:
            log.error("session.not_closed", device=self._device_id, error=repr(error))

    async def logout(self, within_s: float) -> None:
        """Unlink the device at WhatsApp, if that works."""
        if self.session is None:
            return
        try:
            async with asyncio.timeout(within_s):
                await self.session.logout()
        except Exception as error:
            log.warning("session.not_unlinked", device=self._device_id, error=repr(error))

    async def forget(self, engine_name: str | None, jid: str | None) -> None:
        """Have the engine forget the device's keys; every engine, where it is not known which one has them."""
        spec = SessionSpec(tenant=self._tenant, device=self._device_id, name="", jid=jid)
        for name in (engine_name,) if engine_name else self._shared.engines.names:
            await (await self._shared.engines.engine(name)).forget(spec)
