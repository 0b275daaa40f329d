"""The partition of a key is part of the wire: it may never change."""

from kurir.runtime.partitions import partition_of


def test_known_keys_stay_where_they_are() -> None:
    # CRC-32 of "123456789" is the published check value 0xCBF43926.
    assert partition_of("123456789", 2**32) == 0xCBF43926
    assert partition_of("dev_0191", 64) == 42
    assert partition_of("é", 64) == 62


def test_keys_spread_evenly() -> None:
    sizes = [0] * 64
    for n in range(64_000):
        sizes[partition_of(f"device-{n}", 64)] += 1
    assert min(sizes) > 800
    assert max(sizes) < 1200
