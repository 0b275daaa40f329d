"""One attempt of one delivery, from the message in DELIVERIES to its acknowledgement.

The order is what makes it safe: post, record in AUDIT, schedule the next attempt (or write to DEAD), acknowledge.
Whoever dies in between leaves the message unacknowledged; it comes again, finds its attempt recorded, and goes on
from there. What nobody can know is made again, and the receiver gets the same `webhook-id` twice: when the record was
not written yet, while MongoDB is away, when the broker forgot that it had stored this delivery before. Then both
requests stand on record, each under an id of its own.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from kurir.contracts import deliveries, headers, ids, subjects
from kurir.contracts.deliveries import Delivery, DeliveryAttempt
from kurir.contracts.records import Endpoint
from kurir.contracts.states import DeliveryOutcome
from kurir.runtime.broker import Bus, Incoming
from kurir.runtime.clock import Clock
from kurir.runtime.egress import Answer, Egress, TransportFailure
from kurir.runtime.logs import get, is_left_out
from kurir.runtime.partitions import partition_of
from kurir.runtime.settlement import Rejected, Retry
from kurir.runtime.tracing import TRACEPARENT, child_span, current_traceparent, valid_traceparent
from kurir.webhook_dispatcher import outcome, request
from kurir.webhook_dispatcher.attempts import AttemptHistory, AuditTrail, publish_through_outage
from kurir.webhook_dispatcher.circuits import Circuits
from kurir.webhook_dispatcher.endpoint_events import ExhaustedDeliveries
from kurir.webhook_dispatcher.endpoint_health import EndpointHealth
from kurir.webhook_dispatcher.endpoints import Endpoints
from kurir.webhook_dispatcher.files import Files
from kurir.webhook_dispatcher.measures import Measures
from kurir.webhook_dispatcher.outcome import Verdict
from kurir.webhook_dispatcher.payloads import Payloads
from kurir.webhook_dispatcher.places import Places
from kurir.webhook_dispatcher.rates import Rates
from kurir.webhook_dispatcher.request import Headers, SecretsUnusable
from kurir.webhook_dispatcher.retry_schedule import delay_s, in_order_delay_s

log = get("kurir.delivery")

OURS: Final = frozenset({"busy", "canceled"})
"""Failures of ours, in which the endpoint had no part: no attempt was made."""
OURS_AGAIN_S: Final = 1.0
NO_HEADERS: Final[Mapping[str, str]] = {}  # only a failure's are worth reading

_encoder = msgspec.json.Encoder()


class Delivering:
    """Carries out deliveries. One instance serves all endpoints."""

    def __init__(
        self,
        *,
        bus: Bus,
        endpoints: Endpoints,
        health: EndpointHealth,
        exhausted: ExhaustedDeliveries,
        egress: Egress,
        audit: AuditTrail,
        history: AttemptHistory,
        payloads: Payloads,
        files: Files,
        circuits: Circuits,
        rates: Rates,
        measures: Measures,
        clock: Clock,
        retry_delays_s: tuple[float, ...],
        deadline_s: float,
        response_cap_bytes: int,
        places: Places,
    ) -> None:
        self._bus = bus
        self._endpoints = endpoints
        self._health = health
        self._exhausted = exhausted
        self._egress = egress
        self._audit = audit
        self._history = history
        self._payloads = payloads
        self._files = files
        self._circuits = circuits
        self._rates = rates
        self._measures = measures
        self._clock = clock
        self._retry_delays_s = retry_delays_s
        self._deadline_s = deadline_s
        self._response_cap = response_cap_bytes
        self._places = places

    async def deliver(self, message: Incoming) -> DeliveryAttempt | None:
        """Make the attempt that `message` stands for and everything that follows from it.

        When this returns the message may be acknowledged; None means that the attempt was made before. Raises
        Rejected for a message that can never be delivered, Retry for trouble of ours, PublishError when the broker
        is away.
        """
        try:
            delivery = deliveries.decode(message.data)
        except msgspec.DecodeError as error:
            raise self._rejected(error) from error
        traceparent = valid_traceparent(message.header(TRACEPARENT))
        endpoint = self._endpoints.known(delivery.tenant, delivery.endpoint)
        if endpoint is None:
            endpoint = await self._endpoints.find(delivery.tenant, delivery.endpoint)
        if message.delivered > 1:
            earlier = await self._history.find(delivery, delivery.attempt)
            if earlier is not None:
                if not await self._was_followed_up(delivery, earlier):
                    await self.follow_up(message, delivery, endpoint, earlier, traceparent)
                return None
        attempt = await self.attempt(delivery, endpoint, traceparent)
        if attempt.outcome != "delivered":
            await self.follow_up(message, delivery, endpoint, attempt, traceparent)
        return attempt

    async def attempt(
        self,
        delivery: Delivery,
        endpoint: Endpoint | None,
        traceparent: str | None,
        in_order_until: datetime | None = None,
    ) -> DeliveryAttempt:
        """Make one attempt and put it on record. Until `in_order_until` a failure is tried again, however often.

        Raises as `deliver`.
        """
        if endpoint is not None and self._is_off(endpoint):
            endpoint = await self._endpoints.newest(endpoint)  # turned on a moment before this event, perhaps
        if endpoint is None or self._is_off(endpoint):
            attempt = self._canceled(delivery, endpoint)
        else:
            if in_order_until is None and self._circuits.has_tripped(endpoint.id):  # a single one needs no circuit
                await self._circuits.admit(endpoint.id)
            attempt = await self._in_its_turn(delivery, endpoint, traceparent, in_order_until)
        await self._recorded(attempt)
        return attempt

    async def test(self, delivery: Delivery, endpoint: Endpoint) -> DeliveryAttempt:
        """Make the one attempt of a test, also at an endpoint that is off or left alone, and put it on record.

        A failure has no consequences; a success is one like any other. Raises as `deliver`.
        """
        attempt = await self._in_its_turn(delivery, endpoint, None, None)
        await self._recorded(attempt)
        return attempt

    async def resumed(self, delivery: Delivery) -> tuple[Delivery, DeliveryAttempt | None]:
        """Where a delivery stands whose message came again: its next attempt, or the last one when that was the end."""
        while (earlier := await self._history.find(delivery, delivery.attempt)) is not None:
            if earlier.outcome != "retry":
                return delivery, earlier
            delivery = following(delivery)
        return delivery, None

    async def _recorded(self, attempt: DeliveryAttempt) -> None:
        await self._audit.record(attempt)
        self._measures.attempted(attempt)
        _tell(attempt)

    async def _was_followed_up(self, delivery: Delivery, attempt: DeliveryAttempt) -> bool:
        """Whether the next attempt was made already: scheduling it again would make it twice."""
        return attempt.outcome == "retry" and await self._history.find(delivery, delivery.attempt + 1) is not None

    async def _in_its_turn(
        self, delivery: Delivery, endpoint: Endpoint, traceparent: str | None, in_order_until: datetime | None
    ) -> DeliveryAttempt:
        if endpoint.max_per_second is not None:
            await self._rates.turn(endpoint, endpoint.max_per_second)
        if not self._places.take_now(delivery.tenant):
            await self._places.take(delivery.tenant)
        try:
            if not endpoint.payload_options.base64:
                return await self._attempt(delivery, endpoint, traceparent, in_order_until)
            async with self._files.of(delivery) as file:
                return await self._attempt(delivery, endpoint, traceparent, in_order_until, file)
        finally:
            self._places.give_back(delivery.tenant)

    async def _attempt(
        self,
        delivery: Delivery,
        endpoint: Endpoint,
        traceparent: str | None,
        in_order_until: datetime | None,
        file: str | None = None,
    ) -> DeliveryAttempt:
        at = self._clock.now()
        url = endpoint.url
        answer: Answer | TransportFailure
        sent: Headers = []
        with child_span("webhook.attempt", traceparent) as span:
            try:
                writer = self._endpoints.writer(endpoint)
                payload = self._payloads.of(delivery, endpoint, writer.shown_key, file)
                if payload.path:
                    url = request.below(url, payload.path)
                sent = writer.headers(
                    event_id=delivery.event_id if delivery.told_as is None else ids.webhook_id(delivery.id),
                    event_name=payload.event,
                    body=payload.body,
                    now=at,
                    traceparent=current_traceparent(),
                    is_replay=delivery.is_replay,
                    is_test=delivery.is_test,
                )
                answer = await self._egress.post(
                    url,
                    headers=sent,
                    body=payload.body,
                    deadline_s=self._deadline_s,
                    response_cap=self._response_cap,
                    client_certificate=writer.client_certificate,
                )
                verdict = outcome.of_answer(answer.status, NO_HEADERS if answer.status < 300 else answer.headers, at)
            except msgspec.DecodeError as error:
                raise self._rejected(error) from error
            except TransportFailure as failure:
                if failure.kind in OURS:
                    raise Retry(OURS_AGAIN_S, failure.kind) from failure
                answer = failure
                verdict = outcome.of_failure(failure.kind)
            except SecretsUnusable as unusable:
                answer = TransportFailure("request", str(unusable))
                verdict = outcome.of_failure("secret")
            span.set("webhook.outcome", verdict.kind)
        if isinstance(answer, Answer) and delivery.attempt == 1 and not (delivery.is_replay or delivery.is_test):
            self._measures.first_byte(answer.started_at - delivery.first_at.timestamp())
        return self._judged(delivery, endpoint, url, at, verdict, answer, sent, in_order_until)

    def _rejected(self, error: msgspec.DecodeError) -> Rejected:
        self._measures.gave_up("deliveries")
        return Rejected("VALIDATION_ERROR", str(error))

    def _judged(
        self,
        delivery: Delivery,
        endpoint: Endpoint,
        url: str,
        at: datetime,
        verdict: Verdict,
        answer: Answer | TransportFailure,
        sent: Headers,
        in_order_until: datetime | None,
    ) -> DeliveryAttempt:
        result: DeliveryOutcome
        next_at: datetime | None = None
        wait_s: float | None
        if verdict.kind == "delivered":
            result = "delivered"
            self._circuits.succeeded(endpoint.id)
            self._health.succeeded(endpoint, at)
        elif delivery.is_test:
            result = "failed"
        elif verdict.kind == "gone" or self._health.failed(endpoint, at, verdict.error or "", answer.status):
            result = "disabled"
        else:
            self._circuits.failed(endpoint.id)
            delays_s = self._retry_delays_s if endpoint.retry_delays_s is None else endpoint.retry_delays_s
            if in_order_until is not None and self._clock.now() < in_order_until:
                wait_s = in_order_delay_s(delays_s, delivery.attempt, verdict.retry_after_s)
            else:
                wait_s = delay_s(delays_s, delivery.attempt, verdict.retry_after_s)
            result = "dead" if wait_s is None else "retry"
            next_at = None if wait_s is None else self._clock.now() + timedelta(seconds=wait_s)
        detail, response = (None, answer.body) if isinstance(answer, Answer) else (answer.detail, b"")
        return _fact(
            delivery,
            at,
            url,
            result,
            milliseconds=round(answer.milliseconds, 3),
            status=answer.status,
            error=verdict.error,
            detail=detail,
            address=answer.address,
            response=response.decode(errors="replace"),
            request_headers=request.shown(sent),
            next_at=next_at,
        )

    def _is_off(self, endpoint: Endpoint) -> bool:
        return not endpoint.active or self._health.is_disabled(endpoint)

    def _canceled(self, delivery: Delivery, endpoint: Endpoint | None) -> DeliveryAttempt:
        """The endpoint was deleted, turned off or disabled after the event: nothing is sent, and that is recorded."""
        self._circuits.succeeded(delivery.endpoint)
        url, error = ("", "endpoint_gone") if endpoint is None else (endpoint.url, "endpoint_off")
        return _fact(delivery, self._clock.now(), url, "canceled", error=error)

    async def follow_up(
        self,
        message: Incoming,
        delivery: Delivery,
        endpoint: Endpoint | None,
        attempt: DeliveryAttempt,
        traceparent: str | None,
    ) -> None:
        """What an attempt's outcome asks for: its next one scheduled, its endpoint disabled, or its delivery buried.

        `message` is what stands for the delivery. Raises PublishError; repeating it is harmless.
        """
        if attempt.outcome == "retry":
            await self._schedule(delivery, attempt.next_at or self._clock.now(), traceparent)
        elif attempt.outcome == "disabled" and endpoint is not None:
            reason = "The endpoint answered 410 Gone." if attempt.status == 410 else "It failed for too long."
            await self._health.disable(endpoint, attempt, reason)
            self._circuits.succeeded(endpoint.id)
        if attempt.outcome in ("dead", "disabled"):
            await self._bury(message, delivery, attempt)
        if attempt.outcome == "dead" and endpoint is not None:
            await self._exhausted.note(endpoint, attempt)

    async def _schedule(self, delivery: Delivery, at: datetime, traceparent: str | None) -> None:
        """The server puts the next attempt into the endpoint's partition when its time has come.

        One subject per delivery and no message id: publishing again replaces what waits there, while a remembered id
        could drop a later attempt's schedule.
        """
        target = subjects.delivery(partition_of(delivery.endpoint, subjects.DELIVERY_PARTITIONS), delivery.endpoint)
        schedule = {
            headers.SCHEDULE: "@at " + at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            headers.SCHEDULE_TARGET: target,
        }
        if traceparent is not None:
            schedule[headers.TRACEPARENT] = traceparent
        await publish_through_outage(
            self._bus,
            subjects.delivery_retry(delivery.endpoint, delivery.id),
            _encoder.encode(following(delivery)),
            headers=schedule,
        )

    async def _bury(self, message: Incoming, delivery: Delivery, attempt: DeliveryAttempt) -> None:
        reason = f"{attempt.outcome}: {attempt.error or 'failed'} in attempt {attempt.attempt}"
        await publish_through_outage(
            self._bus,
            subjects.dead("deliveries", delivery.tenant, delivery.endpoint),
            _encoder.encode(delivery),
            msg_id=f"{delivery.id}:{delivery.generation}:dead",
            headers={
                headers.DEAD_REASON: reason,
                headers.DEAD_SUBJECT: message.subject,
                headers.DEAD_SEQUENCE: str(message.stream_seq),
            },
        )


def following(delivery: Delivery) -> Delivery:
    """The next attempt."""
    return msgspec.structs.replace(delivery, attempt=delivery.attempt + 1)


def _fact(
    delivery: Delivery,
    at: datetime,
    url: str,
    result: DeliveryOutcome,
    *,
    milliseconds: float = 0.0,
    status: int | None = None,
    error: str | None = None,
    detail: str | None = None,
    address: str | None = None,
    response: str = "",
    request_headers: dict[str, str] | None = None,
    next_at: datetime | None = None,
) -> DeliveryAttempt:
    return DeliveryAttempt(
        id=ids.uuid7(),
        delivery=delivery.id,
        generation=delivery.generation,
        attempt=delivery.attempt,
        tenant=delivery.tenant,
        device=delivery.device,
        endpoint=delivery.endpoint,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        message_id=delivery.message_id,
        at=at,
        url=url,
        outcome=result,
        milliseconds=milliseconds,
        status=status,
        error=error,
        detail=detail,
        address=address,
        response=response,
        request_headers=request_headers or {},
        next_at=next_at,
        is_replay=delivery.is_replay,
        is_test=delivery.is_test,
    )


def _tell(attempt: DeliveryAttempt) -> None:
    """One line with all that is known but for what was said: bodies and headers stand in the audit.

    The levels differ so that failures are still told when there are more successes than a log takes.
    """
    level = "info" if attempt.outcome == "delivered" else "warning"
    if is_left_out(level, "delivery.attempted"):
        return
    write = log.info if level == "info" else log.warning
    write(
        "delivery.attempted",
        tenant=attempt.tenant,
        endpoint=attempt.endpoint,
        device=attempt.device,
        event_id=attempt.event_id,
        event_type=attempt.event_type,
        message_id=attempt.message_id,
        generation=attempt.generation,
        attempt=attempt.attempt,
        outcome=attempt.outcome,
        status=attempt.status,
        error=attempt.error,
        detail=attempt.detail,
        address=attempt.address,
        milliseconds=attempt.milliseconds,
        next_at=attempt.next_at and attempt.next_at.isoformat(),
        is_replay=attempt.is_replay,
        is_test=attempt.is_test,
    )
