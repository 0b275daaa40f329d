"""Over one session: is it still there when it says nothing?

whatsmeow asks WhatsApp every 20 to 30 s and tells when no answer came, so an ordinary silence is over within 70 s. What
that leaves is a session whose events do not reach us any more: it says connected for ever. So one that has told nothing
for `silent_after_s` is asked, and one that does not answer twice is given up. An idle device is asked as well, which
costs WhatsApp one question in that time.
"""

import asyncio
import random
from collections.abc import Callable

import structlog

from kurir.session_node.engines.engine import AnswersPings, EngineSession, NotConnected
from kurir.session_node.engines.requests import RequestFailed

log = structlog.get_logger(__name__)

SILENT_AFTER_S = 300.0  # ten times what whatsmeow needs by itself; for 200 idle devices two questions in three seconds
PINGS = 2  # the first may have met a connection that was just being restored
PING_TIMEOUT_S = 40.0  # the engine's own limit is 30 s


class Watchdog:
    """`session` gives the open session; `give_up` is told, once for each `watch`, why it is taken for dead."""

    def __init__(
        self, silent_after_s: float, session: Callable[[], EngineSession | None], give_up: Callable[[str], None]
    ) -> None:
        self._silent_after_s = silent_after_s
        self._session = session
        self._give_up = give_up
        self._heard_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None

    def heard(self) -> None:
        """The session told something."""
        self._heard_at = asyncio.get_running_loop().time()

    def watch(self) -> None:
        """The session is connected from now on."""
        self.stop()
        self.heard()
        self._look_in(self._silent_after_s * random.uniform(0.8, 1.2))

    def stop(self) -> None:
        """The session is not connected, or is being closed. Harmless when repeated."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def _look_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        silent_s = asyncio.get_running_loop().time() - self._heard_at
        if silent_s < self._silent_after_s * 0.8:
            self._look_in(self._silent_after_s - silent_s)
        else:
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        session, why = self._session(), ""
        if not isinstance(session, AnswersPings):
            return
        for _ in range(PINGS):
            try:
                async with asyncio.timeout(PING_TIMEOUT_S):
                    await session.ping()
            except NotConnected:
                why = "it is not connected, and did not say so"
            except TimeoutError:
                why = f"no answer within {PING_TIMEOUT_S:.0f} s"
            except RequestFailed as error:
                if error.reason != "server_unavailable":  # a refusal is an answer
                    break
                why = str(error)
            except Exception as error:
                log.exception("watchdog.ping_failed")
                why = repr(error)
            else:
                break
        else:
            self._asking = None
            self._give_up(why)
            return
        self._asking = None
        self.heard()
        self._look_in(self._silent_after_s)
