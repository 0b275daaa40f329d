"""API keys are kept as digests; sealed values open under their key, in their place, and nowhere else."""

import base64
import os
import re
from pathlib import Path

import pytest

from kurir.runtime.secrets import (
    MasterKey,
    MasterKeyRefused,
    SealBroken,
    api_key_digest,
    api_key_matches,
    new_api_key,
    new_master_key,
)
from kurir.runtime.settings import RuntimeSettings, load

RANDOM_KEY = bytes.fromhex("8f3ac1d95e7702bb64f01d9a3ce8b7250e96d1ab47c35f88e2f4a90b6d13c57e")


def test_api_keys_are_64_hex_digits_and_never_the_same() -> None:
    keys = {new_api_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(re.fullmatch(r"[0-9a-f]{64}", key) for key in keys)


def test_an_api_key_is_known_by_its_sha256() -> None:
    assert api_key_digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    key = new_api_key()
    assert api_key_matches(key, api_key_digest(key))
    assert not api_key_matches(new_api_key(), api_key_digest(key))
    assert not api_key_matches(key, "not a digest ✗")


def test_what_is_sealed_opens_in_its_context() -> None:
    master = MasterKey([RANDOM_KEY])
    sealed = master.seal("whsec_geheim ✓", "acme/endpoint-1")
    assert re.fullmatch(r"v1\.[0-9a-f]{8}\.[A-Za-z0-9_=-]+", sealed)
    assert "geheim" not in sealed
    assert master.open(sealed, "acme/endpoint-1") == "whsec_geheim ✓"


def test_sealing_twice_gives_different_values() -> None:
    master = MasterKey([RANDOM_KEY])
    assert master.seal("same", "acme") != master.seal("same", "acme")


def test_a_sealed_value_moved_to_another_tenant_does_not_open() -> None:
    master = MasterKey([RANDOM_KEY])
    with pytest.raises(SealBroken):
        master.open(master.seal("secret", "acme/endpoint-1"), "mallory/endpoint-1")


def test_an_altered_value_does_not_open() -> None:
    master = MasterKey([RANDOM_KEY])
    sealed = master.seal("secret", "acme")
    body = sealed.rpartition(".")[2]
    raw = bytearray(base64.urlsafe_b64decode(body))
    raw[-1] ^= 1
    altered = base64.urlsafe_b64encode(raw).decode()
    for broken in (sealed.replace(body, altered), sealed.replace("v1.", "v2."), sealed[:30], "v1.zz", "", "ümlaut"):
        with pytest.raises(SealBroken):
            master.open(broken, "acme")


@pytest.mark.parametrize("length", range(3), ids="of {} more bytes".format)
@pytest.mark.parametrize("more", ["x", "=", "==", "!", "\n", "xxxx"])
def test_a_value_with_more_behind_it_does_not_open(length: int, more: str) -> None:
    """Whatever padding it ends with, behind which a decoder may stop to look."""
    master = MasterKey([RANDOM_KEY])
    sealed = master.seal("k" * length, "acme")
    with pytest.raises(SealBroken):
        master.open(sealed + more, "acme")


def test_after_a_rotation_old_values_open_and_new_ones_use_the_first_key() -> None:
    old_text, new_text = new_master_key(), new_master_key()
    sealed_before = MasterKey.parse(old_text).seal("secret", "acme")
    rotated = MasterKey.parse(f"{new_text},{old_text}")
    assert rotated.open(sealed_before, "acme") == "secret"
    sealed_after = rotated.seal("secret", "acme")
    assert MasterKey.parse(new_text).open(sealed_after, "acme") == "secret"
    with pytest.raises(SealBroken):
        MasterKey.parse(old_text).open(sealed_after, "acme")


@pytest.mark.parametrize(
    "text",
    [
        RANDOM_KEY.hex(),
        RANDOM_KEY.hex().upper(),
        base64.b64encode(RANDOM_KEY).decode(),
        base64.urlsafe_b64encode(RANDOM_KEY).decode().rstrip("="),
        f"  {RANDOM_KEY.hex()}\n",
    ],
)
def test_a_master_key_may_be_hex_or_base64(text: str) -> None:
    sealed = MasterKey([RANDOM_KEY]).seal("secret", "acme")
    assert MasterKey.parse(text).open(sealed, "acme") == "secret"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "No master key"),
        (os.urandom(16).hex(), "too short"),
        (base64.b64encode(RANDOM_KEY[:31]).decode(), "too short"),
        (os.urandom(33).hex(), "too long"),
        ("changeme!", "neither base64 nor hex"),
        (f"{RANDOM_KEY.hex()},{os.urandom(8).hex()}", "too short"),
    ],
)
def test_a_master_key_of_the_wrong_form_is_refused_even_in_a_demo(text: str, reason: str) -> None:
    for demo in (False, True):
        with pytest.raises(MasterKeyRefused, match=reason):
            MasterKey.parse(text, demo=demo)


@pytest.mark.parametrize(
    "key",
    [
        bytes(32),
        bytes(range(32)),
        bytes(range(255, 191, -2)),
        b"\xde\xad\xbe\xef" * 8,
        b"kurir-demo-master-key-not-secret",
    ],
)
def test_a_predictable_master_key_is_refused_outside_a_demo(key: bytes) -> None:
    text = base64.b64encode(key).decode()
    with pytest.raises(MasterKeyRefused, match="predictable") as refused:
        MasterKey.parse(text)
    assert text not in str(refused.value)
    assert MasterKey.parse(text, demo=True)


def test_generated_master_keys_are_accepted() -> None:
    assert all(MasterKey.parse(new_master_key()) for _ in range(1000))


def test_the_master_key_comes_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KURIR_MASTER_KEY", raising=False)
    monkeypatch.delenv("KURIR_MASTER_KEY_FILE", raising=False)
    sealed = MasterKey([RANDOM_KEY]).seal("secret", "acme")
    assert MasterKey.load(load(RuntimeSettings, master_key=RANDOM_KEY.hex())).open(sealed, "acme") == "secret"

    key_file = tmp_path / "master.key"
    key_file.write_text(f"{new_master_key()}\n{RANDOM_KEY.hex()}\n")
    monkeypatch.setenv("KURIR_MASTER_KEY_FILE", str(key_file))
    assert MasterKey.load(load(RuntimeSettings)).open(sealed, "acme") == "secret"


def test_a_missing_master_key_is_refused_with_the_variable_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KURIR_MASTER_KEY", raising=False)
    monkeypatch.delenv("KURIR_MASTER_KEY_FILE", raising=False)
    with pytest.raises(MasterKeyRefused, match="KURIR_MASTER_KEY"):
        MasterKey.load(load(RuntimeSettings))
    with pytest.raises(MasterKeyRefused, match="No such file"):
        MasterKey.load(load(RuntimeSettings, master_key_file=tmp_path / "absent"))


def test_a_demo_may_use_a_weak_key_and_production_may_not() -> None:
    weak = base64.b64encode(b"a" * 32).decode()
    MasterKey.load(load(RuntimeSettings, master_key=weak, environment="demo"))
    with pytest.raises(MasterKeyRefused):
        MasterKey.load(load(RuntimeSettings, master_key=weak, environment="production"))


def test_a_master_key_does_not_show_itself() -> None:
    assert RANDOM_KEY.hex() not in repr(MasterKey([RANDOM_KEY]))
