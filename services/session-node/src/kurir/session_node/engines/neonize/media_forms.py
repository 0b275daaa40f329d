"""Media in the form that WhatsApp's clients show: voice notes as ogg/opus, stickers as webp, pictures with a preview.

What has to be converted is converted or refused; previews and lengths are hints, and media goes without them when they
cannot be made. ffmpeg reads from a file of its own, opens no other file and no address, and ends after a time limit.
"""

import asyncio
import contextlib
import io
import logging
import re
import shutil
import tempfile
from array import array
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from kurir.contracts.content import Audio, Content, Image, Sticker, Video
from kurir.session_node.engines.engine import SendFailed

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
InThread = Callable[[Callable[[], Answer]], Awaitable[Answer]]

OPUS_MIMETYPE = "audio/ogg; codecs=opus"
FFMPEG_TIMEOUT_S = 60.0
FFMPEG_AT_ONCE = 2  # each takes a core; sends of other devices must not wait for them
MAX_PIXELS = 50_000_000  # a small file can unpack to gigabytes
PREVIEW_SIDE = 100
PORTRAIT_SIDE = 640  # of people and groups, as WhatsApp's own apps upload them
STICKER_SIDE = 512
STICKER_BYTES = 100 * 1024  # WhatsApp's own limit for one that does not move
WAVE_POINTS = 64
WAVE_RATE = 2000  # samples per second are plenty for 64 points

_DEMUXERS = "aac,aiff,amr,asf,avi,caf,flac,matroska,mov,mp3,mpegts,ogg,wav"
"""Containers of sound and film. Playlists are not among them: they make ffmpeg open whatever they name."""


class MediaForm(Struct, frozen=True, kw_only=True):
    """Bytes to upload, and `facts`: fields of WhatsApp's message about them."""

    data: bytes
    mimetype: str
    facts: dict[str, Any] = msgspec.field(default_factory=dict)


class MediaForms:
    """One per process. `in_thread` runs a call that takes a while beside the event loop."""

    def __init__(self, in_thread: "InThread[Any]") -> None:
        self._in_thread = in_thread
        self._ffmpegs = asyncio.Semaphore(FFMPEG_AT_ONCE)

    async def form(self, content: Content, data: bytes, mimetype: str) -> MediaForm:
        """The form for a kind of content. Raises SendFailed when it cannot be made of these bytes."""
        match content:
            case Image():
                return MediaForm(data=data, mimetype=mimetype, facts=await self._in_thread(lambda: _preview(data)))
            case Sticker():
                webp = await self._in_thread(lambda: _sticker(data))
                return MediaForm(
                    data=webp, mimetype="image/webp", facts={"width": STICKER_SIDE, "height": STICKER_SIDE}
                )
            case Video():
                return MediaForm(data=data, mimetype=mimetype, facts=await self._hints(self._film, data))
            case Audio(voice=True):
                sound = data if _is_opus(data) else await self._opus(data)
                return MediaForm(data=sound, mimetype=OPUS_MIMETYPE, facts=await self._hints(self._wave, sound))
            case Audio():
                facts = await self._hints(self._wave, data)
                facts.pop("waveform", None)
                return MediaForm(data=data, mimetype=mimetype, facts=facts)
            case _:
                return MediaForm(data=data, mimetype=mimetype)

    async def portrait(self, data: bytes) -> bytes:
        """The picture of a person or group. Raises SendFailed when these bytes are no picture."""
        portrait: bytes = await self._in_thread(lambda: _portrait(data))
        return portrait

    # --- sound and film ---------------------------------------------------------------------------------------------

    async def _opus(self, data: bytes) -> bytes:
        try:
            arguments = ("-vn", "-ac", "1", "-ar", "48000", "-c:a", "libopus", "-b:a", "32k", "-f", "ogg")
            sound, _ = await self._ffmpeg(data, *arguments)
        except _Failed as failed:
            raise SendFailed("media_refused", f"this cannot be made a voice note: {failed}") from failed
        return sound

    async def _wave(self, data: bytes) -> dict[str, Any]:
        """Its length in seconds, and 64 points from 0 to 100 that are drawn as its wave."""
        raw, _ = await self._ffmpeg(data, "-vn", "-ac", "1", "-ar", str(WAVE_RATE), "-f", "s16le")
        samples = array("h", raw[: len(raw) // 2 * 2])
        if not samples:
            return {}
        width = max(1, len(samples) // WAVE_POINTS)
        peaks = [max(map(abs, samples[at : at + width])) for at in range(0, len(samples), width)][:WAVE_POINTS]
        highest = max(*peaks, 1)
        points = bytes(round(100 * peak / highest) for peak in peaks)
        return {"seconds": max(1, round(len(samples) / WAVE_RATE)), "waveform": points.ljust(WAVE_POINTS, b"\0")}

    async def _film(self, data: bytes) -> dict[str, Any]:
        """Its first picture, small, and its length in seconds."""
        scale = f"scale='min({PREVIEW_SIDE},iw)':-2"
        picture, said = await self._ffmpeg(data, "-an", "-frames:v", "1", "-vf", scale, "-f", "mjpeg")
        facts: dict[str, Any] = {"JPEGThumbnail": picture} if picture else {}
        length = re.search(r"Duration: (\d+):(\d+):(\d+)", said)
        if length:
            hours, minutes, seconds = map(int, length.groups())
            facts["seconds"] = max(1, hours * 3600 + minutes * 60 + seconds)
        return facts

    async def _hints(self, read: Callable[[bytes], Awaitable[dict[str, Any]]], data: bytes) -> dict[str, Any]:
        try:
            return await read(data)
        except _Failed as failed:
            log.debug("media goes without its length and preview: %s", failed)
            return {}

    async def _ffmpeg(self, data: bytes, *arguments: str) -> tuple[bytes, str]:
        """What ffmpeg makes of the data, and what it says about it. Raises _Failed."""
        program = shutil.which("ffmpeg")
        if program is None:
            raise _Failed("ffmpeg is not installed")
        async with self._ffmpegs:
            with tempfile.TemporaryDirectory(prefix="kurir-media-") as folder:
                source = Path(folder) / "source"
                await self._in_thread(lambda: source.write_bytes(data))
                safe = ("-nostdin", "-hide_banner", "-threads", "1", "-protocol_whitelist", "file,pipe")
                process = await asyncio.create_subprocess_exec(
                    *(program, *safe, "-format_whitelist", _DEMUXERS, "-i", str(source), *arguments, "pipe:1"),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )
                try:
                    async with asyncio.timeout(FFMPEG_TIMEOUT_S):
                        made, said = await process.communicate()
                except TimeoutError as error:
                    raise _Failed(f"ffmpeg took longer than {FFMPEG_TIMEOUT_S:.0f} s") from error
                finally:
                    if process.returncode is None:
                        with contextlib.suppress(ProcessLookupError):
                            process.kill()
                        await process.wait()
        text = said.decode(errors="replace")
        if process.returncode != 0 or not made:
            raise _Failed((text.strip().splitlines() or ["ffmpeg failed"])[-1][:200])
        return made, text


class _Failed(Exception):
    """ffmpeg could not do it."""


def _is_opus(data: bytes) -> bool:
    """An ogg file whose first stream is opus: RFC 7845, section 5.1."""
    return data.startswith(b"OggS") and b"OpusHead" in data[:100]


# --- pictures --------------------------------------------------------------------------------------------------------


def _preview(data: bytes) -> dict[str, Any]:
    """The picture's size and a small JPEG of it; nothing when it cannot be read."""
    try:
        picture = _opened(data)
        size = {"width": picture.width, "height": picture.height}
        picture.draft("RGB", (PREVIEW_SIDE * 2, PREVIEW_SIDE * 2))
        picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        small = io.BytesIO()
        picture.convert("RGB").save(small, "JPEG", quality=50)
    except (OSError, ValueError, SyntaxError) as error:
        log.debug("an image goes without preview: %s", error)
        return {}
    return {**size, "JPEGThumbnail": small.getvalue()}


def _portrait(data: bytes) -> bytes:
    """A square JPEG of the middle of the picture."""
    from PIL import ImageOps

    try:
        picture = ImageOps.exif_transpose(_opened(data)).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise SendFailed("media_refused", f"this is no picture: {error}") from error
    side = min(PORTRAIT_SIDE, *picture.size)
    portrait = io.BytesIO()
    ImageOps.fit(picture, (side, side)).save(portrait, "JPEG", quality=85)
    return portrait.getvalue()


def _sticker(data: bytes) -> bytes:
    """A webp of 512 × 512 pixels with the whole picture in it. What is a webp already stays as it is."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return data
    from PIL import Image as Picture

    try:
        picture = _opened(data).convert("RGBA")
    except (OSError, ValueError, SyntaxError) as error:
        raise SendFailed("media_refused", f"this cannot be made a sticker: {error}") from error
    scale = STICKER_SIDE / max(picture.size)
    inside = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    sticker = Picture.new("RGBA", (STICKER_SIDE, STICKER_SIDE))
    sticker.paste(inside, ((STICKER_SIDE - inside.width) // 2, (STICKER_SIDE - inside.height) // 2))
    for quality in (85, 60, 35, 10):
        webp = io.BytesIO()
        sticker.save(webp, "WEBP", quality=quality)
        if webp.tell() <= STICKER_BYTES:
            break
    return webp.getvalue()


def _opened(data: bytes) -> Any:
    """The picture, not unpacked yet. Raises OSError, ValueError or SyntaxError."""
    from PIL import Image as Picture

    picture = Picture.open(io.BytesIO(data))
    if picture.width * picture.height > MAX_PIXELS:
        raise ValueError(f"{picture.width} × {picture.height} pixels are too many")
    return picture
