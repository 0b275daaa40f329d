"""Pictures that are pictures: what reads them has something to read."""

import io

from PIL import Image


def a_picture(colour: str = "teal", size: tuple[int, int] = (320, 200), form: str = "PNG") -> bytes:
    """One of a single colour."""
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, form)
    return data.getvalue()
