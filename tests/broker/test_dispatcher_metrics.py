"""What operators see of deliveries: what waits, how old it is, what became of each attempt."""

import json
import math

from prometheus_client.parser import text_string_to_metric_families

from kurir.runtime.service import Lifetime
from tests.support.conditions import until
from tests.support.dispatcher import Stage, a_message
from tests.support.webhook_receiver import Reply, WebhookReceiver


def figure(life: Lifetime, name: str, **labels: str) -> float:
    """The sample of that name and those labels; NaN before there is one."""
    for family in text_string_to_metric_families(life.metrics.exposition().decode()):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return math.nan


async def test_what_waits_is_told_by_where_it_waits_and_how_long(stage: Stage, receiver: WebhookReceiver) -> None:
    for path in ("/down", "/hangs", "/line"):
        in_order = path == "/line"
        await stage.endpoint(receiver.url(path), events=("messages.upsert",), in_order=in_order, max_in_flight=1)
    receiver.on("/down", Reply(500))
    receiver.on("/hangs", Reply(hang=True))
    receiver.on("/line", Reply(hang=True))
    async with stage.dispatcher(retry_schedule="3600,3600", circuit_threshold=2, attempt_deadline_s=25) as life:
        for _ in range(4):
            await stage.say(a_message())

        def is_seen() -> bool:
            ages = [figure(life, "kurir_webhook_oldest_seconds", waiting=where) for where in ("due", "lane", "retry")]
            return all(age > 1 for age in (*ages, figure(life, "kurir_webhook_in_order_oldest_seconds")))

        await until("what waits is seen to grow old", is_seen, within_s=20)
        assert figure(life, "kurir_webhook_open_circuits") == 1
        assert figure(life, "kurir_webhook_lanes") >= 1
        assert figure(life, "kurir_webhook_attempt_seconds_count", outcome="retry") == 2
        assert figure(life, "kurir_webhook_oldest_seconds", waiting="fanout") == 0
        pending = [figure(life, "kurir_webhook_consumer_pending", consumer=f"deliver-{p}") for p in range(4)]
        assert sum(pending) >= 1
        await receiver.stop()


async def test_each_attempt_is_one_line_with_all_that_is_known(stage: Stage, receiver: WebhookReceiver) -> None:
    endpoint = await stage.endpoint(receiver.url("/hook"))
    receiver.on("/hook", Reply(503), Reply(204))
    async with stage.dispatcher_process() as dispatcher:
        event = await stage.say(a_message())
        await stage.attempts_until(2)
        await until("both are logged", lambda: dispatcher.log().count("delivery.attempted") == 2)
        written = dispatcher.log()
    lines = [json.loads(line) for line in written.splitlines() if '"delivery.attempted"' in line]
    assert [(line["level"], line["outcome"], line["status"], line["attempt"]) for line in lines] == [
        ("warning", "retry", 503, 1),
        ("info", "delivered", 204, 2),
    ]
    for line in lines:
        assert (line["tenant"], line["endpoint"], line["event_id"]) == ("t1", endpoint.id, event.id)
        assert line["milliseconds"] > 0
        assert line["address"] == "127.0.0.1"
    assert lines[0]["error"] == "http_503"
    assert lines[0]["next_at"] is not None
    assert "Halo!" not in written
