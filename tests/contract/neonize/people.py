"""Who takes part: people whose devices are real neonize sessions, and Vera, who has a phone of the emulator alone."""

import subprocess
import wave
from collections.abc import Callable
from io import BytesIO
from typing import Any

import msgspec
from PIL import Image as Picture

from kurir.contracts.content import Content, Text
from kurir.session_node.engines.engine import Outgoing, Received, SendOrder, Sent, SessionSpec
from tests.contract.engine.worlds import Watched, a_spec
from tests.support.conditions import until
from tests.support.remote_engine.engine import RemoteEngine, RemoteSession
from tests.support.whatsapp_emulator.client import EmulatorClient

VERA = "628999000001"
VERA_JID = f"{VERA}@s.whatsapp.net"
ARRIVAL_TIMEOUT_S = 20.0


class Person:
    """A number with one linked device, whose session reports to `watched`."""

    def __init__(self, name: str, phone: str) -> None:
        self.name, self.phone, self.jid = name, phone, f"{phone}@s.whatsapp.net"
        self.lid = ""
        self.watched = Watched()
        self.spec: SessionSpec = a_spec(name)
        self._session: RemoteSession | None = None
        self._orders = 0

    @property
    def session(self) -> RemoteSession:
        assert self._session is not None, f"{self.name} has no session"
        return self._session

    @property
    def device(self) -> str:
        """As the emulator calls it."""
        assert self.spec.jid is not None
        return self.spec.jid.partition("@")[0]

    async def link(self, engine: RemoteEngine, whatsapp: EmulatorClient) -> None:
        """Link a device and stay connected."""
        self._session = await engine.open(self.spec, self.watched)
        shown = await self.watched.until_state("qr")
        device = await whatsapp.scan(shown.qr or "", self.phone, name=self.name.title())
        connected = await self.watched.until_state("connected")
        self.lid = (connected.lid or "").partition(":")[0].partition("@")[0] + "@lid"
        self.spec = msgspec.structs.replace(self.spec, jid=f"{device}@s.whatsapp.net")

    async def open(self, engine: RemoteEngine) -> None:
        """Log in again with the keys of the store, reporting to a new `watched`."""
        self.watched = Watched()
        self._session = await engine.open(self.spec, self.watched)
        await self.watched.until_state("connected")

    async def send(self, to: str, content: Content | str, media: Outgoing | None = None, **more: Any) -> Sent:
        self._orders += 1
        words = Text(text=content) if isinstance(content, str) else content
        order = SendOrder(message_id=f"{self.name}-{self._orders}", to=to, content=words, media=media, **more)
        return await self.session.send(order)

    async def until_received(self, what: str, where: Callable[[Received], bool]) -> Received:
        """Wait for a message that is as wanted, also if it has come already."""
        found: list[Received] = []

        def has_come() -> bool:
            found[:] = [received for received in self.watched.received() if where(received)]
            return bool(found)

        await until(
            f"{self.name} received {what}",
            has_come,
            within_s=ARRIVAL_TIMEOUT_S,
            seen=lambda: [(r.whatsapp_id, type(r.content).__name__) for r in self.watched.received()[-5:]],
        )
        return found[0]

    async def until_message(self, whatsapp_id: str) -> Received:
        return await self.until_received(f"message {whatsapp_id}", lambda r: r.whatsapp_id == whatsapp_id)

    async def until_text(self, text: str) -> Received:
        return await self.until_received(f"the text {text!r}", lambda r: r.content == Text(text=text))


async def bytes_of(received: Received) -> bytes:
    """The media of a message, fetched."""
    assert received.attachment is not None
    return b"".join([chunk async for chunk in received.attachment.chunks()])


# --- real files -----------------------------------------------------------------------------------------------------


def a_picture(*, width: int = 320, height: int = 200, kind: str = "PNG") -> bytes:
    file = BytesIO()
    Picture.linear_gradient("L").resize((width, height)).convert("RGB").save(file, kind)
    return file.getvalue()


def a_tone(*, seconds: int = 2) -> bytes:
    """A wav file that grows louder."""
    file = BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        count = 8000 * seconds
        samples = (int(20000 * n / count) * (1 if n // 10 % 2 else -1) for n in range(count))
        sound.writeframes(b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples))
    return file.getvalue()


def a_film() -> bytes:
    """A second of a test picture, as fragmented mp4."""
    source = ("-f", "lavfi", "-i", "testsrc=duration=1:size=160x120:rate=5")
    coded = ("-c:v", "mpeg4", "-movflags", "frag_keyframe+empty_moov", "-f", "mp4", "pipe:1")
    made = subprocess.run(["ffmpeg", "-v", "error", *source, *coded], capture_output=True, timeout=30, check=True)
    return made.stdout
