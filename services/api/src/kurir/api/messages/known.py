"""What is known of messages: how far they have come, and lists of them.

It comes from the history, which is behind by moments: a young message is waited for, one that was just received is
looked for on the bus. A caller sees those of its tenant, and with a key of one device that device's alone.
"""

import time
from collections.abc import Callable, Sequence

from kurir.api.auth import Caller
from kurir.api.devices.service import Devices
from kurir.api.messages.just_received import JustReceived
from kurir.api.messages.store import LIST_TYPES, MessageHistory, cursor_of, position_of
from kurir.api.messages.views import MessageView, Page, Story, story_of, view_of
from kurir.api.people import recipient_in
from kurir.api.problems import Problem
from kurir.contracts import ids
from kurir.contracts.events import AnyEvent, MessageUpserted
from kurir.runtime.clock import Clock

YOUNG_S = 10.0  # the history is written within a second; ten leave room for a slow one
AWAIT_YOUNG_S = 1.0
LOOK_AGAIN_S = 0.05


class KnownMessages:
    def __init__(self, clock: Clock, devices: Devices, history: MessageHistory, just_received: JustReceived) -> None:
        self._clock = clock
        self._devices = devices
        self._history = history
        self._just_received = just_received

    async def facts(
        self, caller: Caller, message_id: str, suffice: Callable[[Sequence[AnyEvent]], bool] = bool
    ) -> list[AnyEvent]:
        """What is known of a message, in the order of the stream; [] of one that the caller does not have.

        A young message is waited for, AWAIT_YOUNG_S at most, until what is written of it does `suffice`. Raises
        MongoError.
        """
        deadline = time.monotonic() + AWAIT_YOUNG_S
        while True:
            facts = await self._history.facts(caller.tenant.id, message_id)
            if suffice(facts) or not self._is_young(message_id) or time.monotonic() >= deadline:
                break
            await self._clock.sleep(LOOK_AGAIN_S)
        facts = facts or await self._just_received.facts(caller.tenant.id, message_id)
        return [fact for fact in facts if is_visible(caller, fact.tenant, fact.device)]

    async def show(self, caller: Caller, message_id: str) -> MessageView:
        """Raises Problem MESSAGE_NOT_FOUND, for another tenant's too, or MongoError."""
        view = view_of(await self.facts(caller, message_id))
        if view is None:
            raise Problem("MESSAGE_NOT_FOUND")
        return view

    async def received(self, caller: Caller, beginning: str) -> MessageUpserted:
        """The received message whose id begins so, also one that came a moment ago. Raises as `show`."""
        facts = await self._just_received.beginning(caller.tenant.id, beginning)
        facts = facts or await self._history.received(caller.tenant.id, beginning)
        for fact in facts:
            if isinstance(fact, MessageUpserted) and is_visible(caller, fact.tenant, fact.device):
                return fact
        raise Problem("MESSAGE_NOT_FOUND")

    async def story(self, caller: Caller, message_id: str) -> Story:
        """Raises as `show`."""
        facts = await self.facts(caller, message_id)
        attempts = await self._history.attempts(caller.tenant.id, message_id) if facts else []
        story = story_of(message_id, facts, attempts)
        if story is None:
            raise Problem("MESSAGE_NOT_FOUND")
        return story

    async def page(
        self,
        caller: Caller,
        *,
        limit: int,
        cursor: str | None,
        device_id: str | None,
        chat: str | None,
        direction: str | None,
    ) -> Page:
        """Messages newest first. Raises Problem or MongoError."""
        facts, next_cursor = await self.facts_page(
            caller, limit=limit, cursor=cursor, device_id=device_id, chat=chat, direction=direction
        )
        return Page(messages=[view for each in facts if (view := view_of(each)) is not None], next=next_cursor)

    async def facts_page(
        self,
        caller: Caller,
        *,
        limit: int,
        cursor: str | None,
        device_id: str | None,
        chat: str | None,
        direction: str | None,
    ) -> tuple[list[list[AnyEvent]], str | None]:
        """The facts of messages, newest first, and the cursor of the next page. Raises Problem or MongoError."""
        if caller.key.device is not None:
            device_id = device_id or caller.key.device
        if device_id is not None:
            self._devices.get(caller, device_id)
        facts, next_before = await self._history.page(
            caller.tenant.id,
            limit=limit,
            before=position_of(cursor) if cursor else None,
            directions=[direction] if direction else list(LIST_TYPES),
            device=device_id,
            chat=recipient_in(chat, caller.tenant.country, "chat") if chat else None,
        )
        return facts, cursor_of(next_before) if next_before is not None else None

    def _is_young(self, message_id: str) -> bool:
        created_ms = ids.created_at_ms(message_id)
        return created_ms is not None and abs(self._clock.time() - created_ms / 1000) < YOUNG_S


def is_visible(caller: Caller, tenant: str, device: str) -> bool:
    return tenant == caller.tenant.id and caller.key.device in (None, device)
