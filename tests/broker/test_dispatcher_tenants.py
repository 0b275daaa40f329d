"""Tenants do not wait for each other."""

from kurir.contracts import events, subjects
from kurir.runtime.broker import Outgoing
from tests.support.conditions import until
from tests.support.dispatcher import Stage, a_message
from tests.support.webhook_receiver import Reply, WebhookReceiver

ENDPOINTS, EVENTS = 20, 500


async def test_ten_thousand_deliveries_to_slow_endpoints_hold_up_no_other_tenant(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    for number in range(ENDPOINTS):
        await stage.endpoint(receiver.url(f"/slow/{number}"), tenant="t1", events=("messages.upsert",))
        receiver.on(f"/slow/{number}", Reply(hang=True))
    await stage.endpoint(receiver.url("/quick"), tenant="t2")
    # All of the first tenant's endpoints at once would take 200 places.
    settings = {"max_in_flight": 100, "in_flight_per_tenant": 50, "attempt_deadline_s": 25, "retry_schedule": "3600"}
    async with stage.dispatcher(**settings):
        said = [a_message("t1") for _ in range(EVENTS)]
        subject = subjects.event("t1", "d1", "messages.upsert")
        await stage.bus.publish_many([Outgoing(subject, events.encode(one), one.id) for one in said])

        async def all_wait() -> bool:
            return await stage.waiting() >= ENDPOINTS * EVENTS

        await until("ten thousand wait", all_wait, within_s=60)
        for number in range(1, 6):
            await stage.say(a_message("t2"))
            await receiver.wait_for(number, lambda request: request.path == "/quick", timeout_s=15)
        slow = [request.at for request in receiver.received if request.path != "/quick"]
        assert len(slow) >= 50, "the first tenant has what is its own"
        # A request may be seen some seconds after it was begun, with ten thousand on their way.
        assert all(later - earlier > 19 for earlier, later in zip(slow, slow[50:], strict=False)), "and no more at once"
        await receiver.stop()
