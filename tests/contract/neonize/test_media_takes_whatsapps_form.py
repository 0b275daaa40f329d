"""Media in the form that WhatsApp's clients show, made by the real ffmpeg and Pillow."""

import asyncio
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image as Picture

from kurir.contracts.content import Audio, Document, Image, Media, Sticker, Video
from kurir.session_node.engines.engine import SendFailed
from kurir.session_node.engines.neonize import media_forms
from kurir.session_node.engines.neonize.media_forms import MediaForms
from tests.contract.neonize.people import a_picture, a_tone

MEDIA = Media(object="t/1", mimetype="x/y", size=1, sha256="")


@pytest.fixture
def forms() -> MediaForms:
    return MediaForms(lambda call: asyncio.to_thread(call))


def opened(picture: bytes) -> Picture.Image:
    return Picture.open(BytesIO(picture))


async def test_an_image_keeps_its_bytes_and_gets_a_small_preview(forms: MediaForms) -> None:
    data = a_picture(width=640, height=320)
    form = await forms.form(Image(media=MEDIA), data, "image/png")
    assert (form.data, form.mimetype) == (data, "image/png")
    assert (form.facts["width"], form.facts["height"]) == (640, 320)
    assert opened(form.facts["JPEGThumbnail"]).size == (100, 50)


@pytest.mark.parametrize("content", [Image(media=MEDIA), Video(media=MEDIA), Audio(media=MEDIA)])
async def test_what_cannot_be_read_goes_as_it_is(forms: MediaForms, content: Image | Video | Audio) -> None:
    form = await forms.form(content, b"nonsense", "x/y")
    assert (form.data, form.mimetype, form.facts) == (b"nonsense", "x/y", {})


async def test_a_document_is_never_looked_into(forms: MediaForms) -> None:
    assert (await forms.form(Document(media=MEDIA), a_picture(), "image/png")).facts == {}


async def test_a_sticker_is_a_square_with_the_whole_picture_in_it(forms: MediaForms) -> None:
    form = await forms.form(Sticker(media=MEDIA), a_picture(width=400, height=100), "image/png")
    sticker = opened(form.data).convert("RGBA")
    assert (form.mimetype, sticker.size) == ("image/webp", (512, 512))
    assert [sticker.getpixel((256, y))[3] for y in (10, 256, 500)] == [0, 255, 0]  # type: ignore[index]
    assert len(form.data) <= media_forms.STICKER_BYTES


async def test_a_sticker_of_nonsense_is_refused(forms: MediaForms) -> None:
    with pytest.raises(SendFailed) as failed:
        await forms.form(Sticker(media=MEDIA), b"nonsense", "image/png")
    assert failed.value.reason == "media_refused"


async def test_a_picture_that_unpacks_to_gigabytes_is_not_unpacked(
    forms: MediaForms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_forms, "MAX_PIXELS", 1000)
    assert (await forms.form(Image(media=MEDIA), a_picture(), "image/png")).facts == {}
    with pytest.raises(SendFailed):
        await forms.form(Sticker(media=MEDIA), a_picture(), "image/png")


async def test_a_voice_note_has_its_length_and_a_wave_that_grows(forms: MediaForms) -> None:
    form = await forms.form(Audio(media=MEDIA, voice=True), a_tone(seconds=3), "audio/wav")
    assert form.data.startswith(b"OggS")
    assert form.mimetype == media_forms.OPUS_MIMETYPE
    wave = form.facts["waveform"]
    assert (form.facts["seconds"], len(wave)) == (3, 64)
    assert wave[5] < wave[30] < wave[60] <= 100


async def test_a_playlist_cannot_make_ffmpeg_read_other_files(forms: MediaForms, tmp_path: Path) -> None:
    other = tmp_path / "secret.wav"
    other.write_bytes(a_tone())
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile://{other}\n#EXT-X-ENDLIST\n"
    for data in (playlist.encode(), f"ffconcat version 1.0\nfile '{other}'\n".encode()):
        with pytest.raises(SendFailed):
            await forms.form(Audio(media=MEDIA, voice=True), data, "audio/mpeg")


async def test_a_voice_note_that_takes_too_long_is_refused(forms: MediaForms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_forms, "FFMPEG_TIMEOUT_S", 0.0)
    with pytest.raises(SendFailed) as failed:
        await forms.form(Audio(media=MEDIA, voice=True), a_tone(), "audio/wav")
    assert "took longer" in failed.value.detail


async def test_without_ffmpeg_only_what_needs_it_is_refused(forms: MediaForms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SendFailed) as failed:
        await forms.form(Audio(media=MEDIA, voice=True), a_tone(), "audio/wav")
    assert "ffmpeg is not installed" in failed.value.detail
    assert (await forms.form(Video(media=MEDIA), b"film", "video/mp4")).data == b"film"
