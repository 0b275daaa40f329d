"""Who takes part in the tests of this folder, and what they send."""

import struct
import zlib

AYU, BUDI = "628111000001", "628111000002"
"""They have linked devices."""

VERA = "628999000001"
"""She has a phone alone."""


def a_png(*, side: int) -> bytes:
    """A real image of side × side pixels that does not compress well."""
    noise = b"".join(b"\0" + bytes((x * y * 2654435761 >> 7) & 255 for x in range(side * 3)) for y in range(side))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(noise, 1)) + chunk(b"IEND", b"")
