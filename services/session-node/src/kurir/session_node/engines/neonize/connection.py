"""The connection that one link holds: whether it is up, how long it is waited for, and why it was over."""

import asyncio

from kurir.contracts.states import Reason
from kurir.runtime.settings import mask_url_password
from kurir.session_node.engines.engine import NotConnected, StateChanged
from kurir.session_node.engines.neonize.link import Link
from kurir.session_node.engines.neonize.way_out import reason_not_opened

PATIENCE_S = 180.0  # whatsmeow waits longer after each failure; a new client starts afresh


class Connection:
    """`own_proxy` is the device's own. `was_up` says whether it ever came to be, and was not refused afterwards;
    `stands` whether there still is one as far as we heard, of use or not."""

    def __init__(self, own_proxy: str | None) -> None:
        self.is_up = False
        self.was_up = False
        self.stands = False
        self._own_proxy = own_proxy
        self._link: Link | None = None
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._patience: asyncio.TimerHandle | None = None
        self._store_is_lost = False
        self._refusal_code: int | None = None

    def require_link(self) -> Link:
        """The link, while it is connected. Raises NotConnected."""
        if not self.is_up or self._link is None:
            raise NotConnected
        return self._link

    async def hold(self, link: Link) -> StateChanged:
        """Open the link and wait until it is over, which does not stop it; how it ended."""
        self._link = link
        link.ended.add_done_callback(lambda ended: self._ended(ended.result()))
        self._be_patient("no connection for minutes")
        try:
            await link.open()
            why = await self._over
        finally:
            self.is_up = False
            self._stop_waiting()
        return StateChanged(
            state="disconnected", reason=self._reason(why), detail=mask_url_password(why), code=self._refusal_code
        )

    def _reason(self, why: str) -> Reason:
        if self._store_is_lost:
            return "device_store_unavailable"
        return "connection_lost" if self.was_up else reason_not_opened(why, self._own_proxy)

    def gain(self) -> bool:
        """The server has taken us in; whether that is news."""
        self._stop_waiting()
        is_news = not self.is_up
        self.is_up = self.was_up = self.stands = True
        return is_news

    def drop(self, *, is_silent: bool = False) -> bool:
        """The connection dropped and whatsmeow reconnects, or it stands and `is_silent`; whether that is news. If it
        takes too long, the link is over.
        """
        if not is_silent:
            self.stands = False
        if not self.is_up:
            return False
        self.is_up = False
        self._be_patient("no reconnect for minutes")
        return True

    def refuse(self, why: str, code: int | None) -> None:
        """The server does not want us; that is what is to be said, however it was before."""
        self.was_up, self._refusal_code = False, code
        self.give_up(why)

    def lose_store(self, why: str) -> None:
        """The keys cannot be reached any more: leave WhatsApp, which then keeps what comes."""
        self._store_is_lost = True
        self.give_up(why)

    def give_up(self, why: str) -> None:
        """The link is over, if it is not yet."""
        self.is_up = False
        if not self._over.done():
            self._over.set_result(why)

    def _ended(self, why: str) -> None:
        self.stands = False
        self.give_up(why)

    def _be_patient(self, why: str) -> None:
        self._stop_waiting()
        self._patience = asyncio.get_running_loop().call_later(PATIENCE_S, self.give_up, why)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
