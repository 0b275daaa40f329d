"""Questions to the owner of a device, answered while the partition is owned. A reply is always Answer or Refused.

Nobody else listens on a partition's subjects, so a caller that finds nobody knows that the device has no owner now.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from faststream.nats import NatsBroker, NatsMessage
from faststream.nats.subscriber import LogicSubscriber
from nats.errors import Error as NatsError

from kurir.contracts import subjects
from kurir.contracts.queries import SANDBOX_SCAN, Answer, Refused, Reply, SandboxScan
from kurir.runtime.lease import Lease
from kurir.session_node.engines.engine import NotPairing
from kurir.session_node.session import DeviceSession

log = structlog.get_logger(__name__)

FindSession = Callable[[int, str, str], DeviceSession | None]
"""The session of partition, tenant and device, if it is ours."""

_scan_decoder = msgspec.json.Decoder(SandboxScan)
_encoder = msgspec.json.Encoder()


class Rpc:
    """A broker of its own: core NATS, nothing stored, nothing to acknowledge."""

    def __init__(self, nats_url: str, *, name: str, creds: str | None, find: FindSession) -> None:
        credentials: dict[str, Any] = {"user_credentials": creds} if creds else {}
        self._broker = NatsBroker(
            [part.strip() for part in nats_url.split(",")],
            name=name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            apply_types=False,
            decoder=_undecoded,
            logger=None,
            **credentials,
        )
        self._find = find
        self._subscribers: dict[int, LogicSubscriber[Any]] = {}

    async def start(self) -> None:
        await self._broker.start()

    async def stop(self) -> None:
        with contextlib.suppress(NatsError):  # the bus may be away
            await self._broker.stop()

    async def open(self, partition: int, lease: Lease) -> None:
        """Begin to answer for a partition."""

        async def scan(body: bytes) -> bytes:
            return await self._answer(partition, lease, body)

        subscriber = self._broker.subscriber(subjects.rpc(partition, SANDBOX_SCAN), persistent=False)
        subscriber(scan)
        await subscriber.start()
        self._subscribers[partition] = subscriber

    async def close(self, partition: int) -> None:
        """Answer no more for a partition. Harmless when repeated."""
        subscriber = self._subscribers.pop(partition, None)
        if subscriber is not None:
            with contextlib.suppress(NatsError):
                await subscriber.stop()

    async def _answer(self, partition: int, lease: Lease, body: bytes) -> bytes:
        try:
            reply: Reply = await self._scan(partition, lease, _scan_decoder.decode(body))
        except msgspec.DecodeError as error:
            reply = Refused(code="VALIDATION_ERROR", detail=str(error))
        except Exception:  # raising would leave the caller waiting for its time-out
            log.exception("rpc.failed", method=SANDBOX_SCAN, partition=partition)
            reply = Refused(code="INTERNAL_ERROR")
        return _encoder.encode(reply)

    async def _scan(self, partition: int, lease: Lease, asked: SandboxScan) -> Reply:
        session = self._find(partition, asked.tenant, asked.device)
        if not lease.valid():
            return Refused(code="SESSION_UNOWNED")
        if session is None or session.device is None:
            return Refused(code="DEVICE_NOT_FOUND")
        if session.scans is None:
            is_sandbox = session.device.engine == "sandbox"
            return Refused(code="DEVICE_NOT_PAIRING" if is_sandbox else "DEVICE_NOT_SANDBOX")
        try:
            jid = await session.scans.scan(asked.phone)
        except NotPairing:
            return Refused(code="DEVICE_NOT_PAIRING")
        return Answer(body={"jid": jid})


async def _undecoded(message: NatsMessage) -> bytes:
    return bytes(message.body)
