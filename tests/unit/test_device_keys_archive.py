"""Exported keys open with what they were closed with, and what is wrong with a file is said in a sentence."""

from datetime import UTC, datetime

import msgspec
import pytest

from kurir.runtime.secrets import MasterKey, new_master_key
from kurir.session_node.keys import archive
from kurir.session_node.keys.archive import ArchiveRefused, DeviceKeys, Lock, MasterKeyLock, PassphraseLock

KEYS = DeviceKeys(
    tenant="tenant-of-the-archive",
    device="dev_of_the_archive",
    jid="628111000001:7@s.whatsapp.net",
    exported_at=datetime(2026, 11, 21, tzinfo=UTC),
    store=b"SQLite format 3\0" + bytes(range(256)) * 40,
    phone="628111000001",
)
WORDS = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _cheap_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "SCRYPT_N", 2**14)


def a_master_key() -> MasterKeyLock:
    return MasterKeyLock(MasterKey.parse(new_master_key()))


@pytest.fixture(params=["passphrase", "master key"])
def lock(request: pytest.FixtureRequest) -> Lock:
    return PassphraseLock(WORDS) if request.param == "passphrase" else a_master_key()


def refused(data: bytes, lock: Lock) -> str:
    with pytest.raises(ArchiveRefused) as told:
        archive.open_archive(data, lock)
    return str(told.value)


def test_what_was_closed_is_opened(lock: Lock) -> None:
    assert archive.open_archive(archive.close(KEYS, lock), lock) == KEYS


def test_nothing_of_the_device_can_be_read_without_the_key(lock: Lock) -> None:
    data = archive.close(KEYS, lock)
    assert not any(word.encode() in data for word in (KEYS.tenant, KEYS.device, "628111000001", "SQLite"))


def test_no_two_files_are_alike(lock: Lock) -> None:
    assert archive.close(KEYS, lock) != archive.close(KEYS, lock)


def test_a_wrong_key_is_told_from_a_damaged_file(lock: Lock) -> None:
    data = archive.close(KEYS, lock)
    assert "damaged" in refused(data[:-1] + bytes([data[-1] ^ 1]), lock)
    if isinstance(lock, PassphraseLock):
        assert "not the one" in refused(data, PassphraseLock(WORDS + "!"))
    else:
        assert "another master key" in refused(data, a_master_key())


def test_the_other_kind_of_key_is_asked_for() -> None:
    by_words, by_key = archive.close(KEYS, PassphraseLock(WORDS)), archive.close(KEYS, a_master_key())
    assert "with a passphrase" in refused(by_words, a_master_key())
    assert "under a master key" in refused(by_key, PassphraseLock(WORDS))
    assert (archive.is_by_master_key(by_words), archive.is_by_master_key(by_key)) == (False, True)


def test_a_file_that_was_cut_anywhere_says_so(lock: Lock) -> None:
    data = archive.close(KEYS, lock)
    for length in (1, 5, 18, 30, data.index(b"\n", 30), data.index(b"\n", 30) + 1, len(data) // 2, len(data) - 1):
        assert "cut short" in refused(data[:length], lock), length


def test_every_change_of_any_byte_is_noticed() -> None:
    lock = a_master_key()
    data = archive.close(KEYS, lock)
    for place in range(0, len(data), 7):
        changed = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
        with pytest.raises(ArchiveRefused):
            archive.open_archive(changed, lock)


def test_another_version_and_another_file_are_named() -> None:
    lock = a_master_key()
    data = archive.close(KEYS, lock)
    assert "of format 2" in refused(data.replace(b"KEYS 1\n", b"KEYS 2\n", 1), lock)
    assert "not a file of" in refused(b"SQLite format 3\0 and so on", lock)
    assert "not a file of" in refused(b"", lock)


def test_a_header_cannot_ask_for_all_memory() -> None:
    lock = PassphraseLock(WORDS)
    magic, header, rest = archive.close(KEYS, lock).split(b"\n", 2)
    greedy = msgspec.json.decode(header)
    greedy["key"]["n"] = 2**40
    assert "header" in refused(b"\n".join([magic, msgspec.json.encode(greedy), rest]), lock)


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(ArchiveRefused, match="12 characters"):
        PassphraseLock("short")
