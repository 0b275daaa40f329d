"""Which numbers have WhatsApp, asked seldom: WhatsApp watches who asks for many, and bans it.

Answers are remembered for a while. New numbers are limited per minute, and asked for in batches.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from kurir.session_node.engines.requests import NumberCheck, RequestFailed

NEW_PER_MINUTE = 60  # our choice; WhatsApp tells nobody its limits
REMEMBER_S = 24 * 3600.0
REMEMBER_ABSENT_S = 3600.0  # people join
REMEMBERED = 10_000


class NumberChecks:
    """Of one session. `ask` asks WhatsApp; `clock` counts seconds."""

    def __init__(
        self,
        ask: Callable[[list[str]], Awaitable[list[NumberCheck]]],
        *,
        new_per_minute: int = NEW_PER_MINUTE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._per_s = new_per_minute / 60
        self._most = float(new_per_minute)
        self._left = self._most
        self._counted_at = clock()
        self._clock = clock
        self._known: OrderedDict[str, tuple[NumberCheck, float]] = OrderedDict()

    async def check(self, phones: tuple[str, ...]) -> tuple[NumberCheck, ...]:
        """In the order asked. Raises RequestFailed, `rate_overlimit` when more are new than may be asked now."""
        new = list(dict.fromkeys(phone for phone in phones if self._remembered(phone) is None))
        if new:
            self._take(len(new))
            answered = {check.phone: check for check in await self._ask(new)}
            for phone in new:
                self._remember(answered.get(phone) or NumberCheck(phone=phone, is_on_whatsapp=False))
        answers = tuple(self._known[phone][0] for phone in phones)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return answers

    def _take(self, count: int) -> None:
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._counted_at) * self._per_s)
        self._counted_at = now
        if count > self._left:
            wait_s = (min(count, self._most) - self._left) / self._per_s
            raise RequestFailed("rate_overlimit", f"{count} new numbers are too many for now", wait_s)
        self._left -= count

    def _remembered(self, phone: str) -> NumberCheck | None:
        check, asked_at = self._known.get(phone, (None, 0.0))
        if check is None:
            return None
        valid_s = REMEMBER_S if check.is_on_whatsapp else REMEMBER_ABSENT_S
        return check if self._clock() - asked_at < valid_s else None

    def _remember(self, check: NumberCheck) -> None:
        self._known[check.phone] = (check, self._clock())
        self._known.move_to_end(check.phone)
