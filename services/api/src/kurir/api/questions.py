"""Asking the owner of a device, and what to tell when the answer is no, late, or there is nobody to ask."""

import math

import msgspec

from kurir.api.devices.offline import not_connected
from kurir.api.problems import UNAVAILABLE_RETRY_AFTER_S, Problem
from kurir.contracts import queries, subjects
from kurir.contracts.errors import ERRORS, ErrorCode
from kurir.contracts.queries import ASK_TIMEOUT_S, A, Question, Refused
from kurir.contracts.records import Session
from kurir.contracts.states import SENTENCES
from kurir.runtime import logs
from kurir.runtime.broker import BrokerUnavailable, Bus, Unreachable
from kurir.runtime.partitions import partition_of
from kurir.runtime.registry import Registry, key_of

log = logs.get("kurir.api.questions")
_encoder = msgspec.json.Encoder()


class Questions:
    def __init__(self, bus: Bus, sessions: Registry[Session]) -> None:
        self._bus = bus
        self._sessions = sessions

    async def ask(self, question: Question[A]) -> A:
        """The owner's answer.

        Raises Problem as the owner refuses, SESSION_UNOWNED when nobody owns the device at the moment, NO_ANSWER or
        OUTCOME_UNKNOWN when there is no answer in time, or BrokerUnavailable when nothing could be asked.
        """
        method = queries.method_of(question)
        if not self._bus.connected:
            raise BrokerUnavailable("not connected to the message bus", outcome_unknown=False)
        subject = subjects.rpc(partition_of(question.device, subjects.COMMAND_PARTITIONS), method.name)
        try:
            data = await self._bus.request(subject, _encoder.encode(question), ASK_TIMEOUT_S)
        except Unreachable as error:
            code: ErrorCode = "OUTCOME_UNKNOWN" if method.changes else "NO_ANSWER"
            raise _later(code if error.outcome_unknown else "SESSION_UNOWNED") from error
        try:
            reply = queries.decode_reply(question, data)
        except msgspec.DecodeError as error:  # of an owner of another version, and no fault of the caller's
            log.error("question.answer_not_read", method=method.name, error=str(error))
            raise Problem("INTERNAL_ERROR") from error
        if isinstance(reply, Refused):
            if reply.code == "DEVICE_NOT_CONNECTED":
                raise not_connected(self._sessions.get(key_of(question.tenant, question.device)))
            raise problem_of_refusal(reply)
        return reply


def problem_of_refusal(refused: Refused) -> Problem:
    """What a caller is told when the answer is no."""
    if refused.code == "INTERNAL_ERROR":
        return Problem("INTERNAL_ERROR")
    message = refused.detail
    if refused.reason is not None:
        message = SENTENCES[refused.reason] if refused.code == "REQUEST_REFUSED" else ERRORS[refused.code].sentence
    retry_after_s = refused.retry_after_s
    if retry_after_s is None and ERRORS[refused.code].status in (429, 503, 504):
        retry_after_s = UNAVAILABLE_RETRY_AFTER_S
    return Problem(
        refused.code,
        message,
        headers={"Retry-After": str(max(1, math.ceil(retry_after_s)))} if retry_after_s is not None else None,
        capability=refused.capability,
        reason=refused.reason,
        detail=refused.detail if refused.reason is not None else None,
    )


def _later(code: ErrorCode) -> Problem:
    return Problem(code, headers={"Retry-After": str(UNAVAILABLE_RETRY_AFTER_S)})
