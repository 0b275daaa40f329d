"""Which partition a key belongs to: the same answer in every process, language and release.

The hash is part of the wire: changing it, or the number of partitions, means moving every stored message.
"""

import zlib


def partition_of(key: str, count: int) -> int:
    """The partition of `key`, 0 to `count` - 1: CRC-32 (as in zip and PNG) of its UTF-8 bytes, modulo `count`."""
    return zlib.crc32(key.encode()) % count
