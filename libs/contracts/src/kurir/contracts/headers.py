"""Message headers: CloudEvents attributes, trace context, and the server's own.

CloudEvents over NATS: attribute `x` travels as header `ce-x` (CloudEvents NATS binding 1.0, binary mode).
"""

from typing import Final

CE_ID: Final = "ce-id"
CE_TYPE: Final = "ce-type"
CE_SOURCE: Final = "ce-source"
CE_TIME: Final = "ce-time"
CE_SUBJECT: Final = "ce-subject"
CE_SPECVERSION: Final = "ce-specversion"

TRACEPARENT: Final = "traceparent"
"""W3C trace context, carried from the HTTP request to the webhook."""

MSG_ID: Final = "Nats-Msg-Id"
"""The server stores a message with this id once inside the stream's duplicate window."""

EXPECTED_LAST_SUBJECT_SEQUENCE: Final = "Nats-Expected-Last-Subject-Sequence"
"""Compare and set: the publish is refused (error 10071) unless this is the subject's last sequence."""

EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT: Final = "Nats-Expected-Last-Subject-Sequence-Subject"
"""The subject that is compared, when it is another than the message's own."""

SCHEDULER: Final = "Nats-Scheduler"
"""The subject of the schedule that this message stands for."""

SCHEDULE_NEXT: Final = "Nats-Schedule-Next"
"""`purge`: the schedule named by SCHEDULER is over with this message."""

TTL: Final = "Nats-TTL"
"""Seconds after which the server removes this message."""

INCREMENT: Final = "Nats-Incr"
"""Adds to a counter; the answer carries the new value."""

SCHEDULE: Final = "Nats-Schedule"
"""When the server fires this message: `@at <RFC 3339 time>`."""

SCHEDULE_TARGET: Final = "Nats-Schedule-Target"
"""The subject, in the same stream, that a fired message gets."""

ORIGIN_SEQUENCE: Final = "Kurir-Origin-Sequence"
"""Stream sequence that a message in a lane had when it was first published."""

ORIGIN_SUBJECT: Final = "Kurir-Origin-Subject"
"""Subject that a message in a lane had when it was first published."""

DEAD_REASON: Final = "Kurir-Dead-Reason"
"""Why a message in DEAD was given up: a code of `errors` and a detail."""

DEAD_SUBJECT: Final = "Kurir-Dead-Subject"
"""The subject that a message in DEAD came from."""

DEAD_SEQUENCE: Final = "Kurir-Dead-Sequence"
"""The stream sequence that a message in DEAD had."""


def cloudevent(
    *, id_: str, type_: str, source: str, time: str, subject: str, traceparent: str | None = None
) -> dict[str, str]:
    """Headers of an event: CloudEvents 1.0 attributes and, when there is one, the trace context.

    `source` is the service, `time` RFC 3339, `subject` the device.
    """
    headers = {
        CE_SPECVERSION: "1.0",
        CE_ID: id_,
        CE_TYPE: type_,
        CE_SOURCE: source,
        CE_TIME: time,
        CE_SUBJECT: subject,
    }
    if traceparent:
        headers[TRACEPARENT] = traceparent
    return headers
