"""A QR code as a picture. Pure, but takes some 10 ms of computing the first time."""

from functools import lru_cache

import segno

SCALE = 6  # pixels per module: about 400 pixels wide, which a phone reads from a screen


@lru_cache(maxsize=256)
def qr_data_url(text: str) -> str:
    """A QR code of `text` as a PNG in a data URL."""
    return str(segno.make(text, micro=False).png_data_uri(scale=SCALE))
