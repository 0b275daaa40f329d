"""Parts of the emulator that can be shown without a client: binary XML, Signal, signatures, the journal's reading."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.support.whatsapp_emulator import binary_xml
from tests.support.whatsapp_emulator.dictionaries import Dictionaries
from tests.support.whatsapp_emulator.jid import SERVER, Jid
from tests.support.whatsapp_emulator.journal import MAX_ENTRIES, Journal, overlaps
from tests.support.whatsapp_emulator.keys import KeyPair
from tests.support.whatsapp_emulator.signal_protocol import Bundle, SignalDevice, Undecipherable
from tests.support.whatsapp_emulator.stanza import Stanza, leaf, parent

NO_WORDS = Dictionaries(single=["" for _ in range(236)], double=[])
PRIME = 2**255 - 19


@pytest.mark.parametrize(
    "stanza",
    [
        Stanza("iq"),
        Stanza("iq", {"from": SERVER, "type": "result", "id": "1"}),
        Stanza("message", {"from": Jid("100628", "lid", 7), "to": Jid("628", "s.whatsapp.net"), "t": "1"}, []),
        parent("list", [leaf("item", bytes([number % 256]) * number) for number in range(300)]),
        leaf("enc", bytes(1 << 20), v="2"),
    ],
    ids=["bare", "attributes", "JIDs", "long list", "large content"],
)
def test_a_stanza_is_read_as_it_was_written(stanza: Stanza) -> None:
    written = binary_xml.encode(stanza)
    read = binary_xml.decode(written, NO_WORDS)
    assert (read.tag, read.attributes) == (stanza.tag, stanza.attributes)
    assert binary_xml.encode(read) == written


def test_words_and_packed_numbers_of_clients_are_understood() -> None:
    words = Dictionaries(single=["", "iq", "id"], double=[["ping"], [], [], []])
    packed = bytes((255, 0x80 | 2, 0x12, 0x3F))  # 123, one filling
    assert binary_xml.decode(bytes((0, 248, 4, 1, 2)) + packed + bytes((236, 0)), words) == Stanza(
        "iq", {"id": "123"}, b"ping"
    )


def test_a_stanza_that_ends_early_is_refused() -> None:
    written = binary_xml.encode(leaf("enc", b"sealed", v="2"))
    for length in range(1, len(written)):
        with pytest.raises(ValueError):
            binary_xml.decode(written[:length], NO_WORDS)


def test_signatures_verify_with_the_key_as_a_point_of_sign_zero() -> None:
    for number in range(20):
        pair, message = KeyPair(), f"message {number}".encode()
        u = int.from_bytes(pair.public, "little")
        point = ((u - 1) * pow(u + 1, -1, PRIME) % PRIME).to_bytes(32, "little")
        Ed25519PublicKey.from_public_bytes(point).verify(pair.sign(message), message)


def a_bundle(of: SignalDevice) -> Bundle:
    number, prekey = of.new_prekey()
    return Bundle(
        identity=of.identity.public,
        signed_prekey_id=of.signed_prekey_id,
        signed_prekey=of.signed_prekey.public,
        prekey_id=number,
        prekey=prekey,
    )


def test_two_devices_talk_in_any_order_of_arrival() -> None:
    ayu, budi = SignalDevice(), SignalDevice()
    first, second, third = (ayu.encrypt("budi", text, lambda: a_bundle(budi)) for text in (b"1", b"2", b"3"))
    assert [budi.decrypt("ayu", *message) for message in (first, third, second)] == [b"1", b"3", b"2"]
    kind, answer = budi.encrypt("ayu", b"4", lambda: a_bundle(ayu))
    assert (kind, ayu.decrypt("budi", kind, answer)) == ("msg", b"4")
    kind, after = ayu.encrypt("budi", b"5", lambda: a_bundle(budi))
    assert (kind, budi.decrypt("ayu", kind, after)) == ("msg", b"5")


def test_a_message_is_read_once_and_a_broken_one_changes_nothing() -> None:
    ayu, budi = SignalDevice(), SignalDevice()
    kind, message = ayu.encrypt("budi", b"once", lambda: a_bundle(budi))
    assert budi.decrypt("ayu", kind, message) == b"once"
    with pytest.raises(Undecipherable, match="read before"):
        budi.decrypt("ayu", kind, message)
    kind, answer = budi.encrypt("ayu", b"whole", lambda: a_bundle(ayu))
    with pytest.raises(Undecipherable, match="MAC"):
        ayu.decrypt("budi", kind, answer[:-1] + bytes([answer[-1] ^ 1]))
    assert ayu.decrypt("budi", kind, answer) == b"whole"


def test_a_session_that_is_begun_anew_replaces_the_old_one() -> None:
    ayu, budi = SignalDevice(), SignalDevice()
    budi.decrypt("ayu", *ayu.encrypt("budi", b"old", lambda: a_bundle(budi)))
    ayu.decrypt("budi", *budi.encrypt("ayu", b"answer", lambda: a_bundle(ayu)))
    kind, message = ayu.encrypt("budi", b"new", lambda: a_bundle(budi), anew=True)
    assert (kind, budi.decrypt("ayu", kind, message)) == ("pkmsg", b"new")


def test_a_group_message_needs_the_senders_key() -> None:
    ayu, budi = SignalDevice(), SignalDevice()
    distribution, message = ayu.group_encrypt("family", b"hello")
    with pytest.raises(Undecipherable, match="key is not known"):
        budi.group_decrypt("family", "ayu", message)
    budi.learn_sender_key("family", "ayu", distribution)
    assert budi.group_decrypt("family", "ayu", message) == b"hello"


def test_the_journal_tells_what_it_was_asked_for_and_that_it_forgot() -> None:
    journal = Journal()
    for number in range(3):
        journal.record("message.sent", id=number)
        journal.record("receipt.sent", id=number)
    assert [entry["id"] for entry in journal.entries(after=2, kinds=["message.sent"])] == [1, 2]
    for number in range(MAX_ENTRIES):
        journal.record("message.sent", id=number)
    assert journal.entries()[0]["n"] == journal.last - MAX_ENTRIES + 1
    assert [entry["n"] for entry in journal.entries(after=journal.last - 1)] == [journal.last]


def test_an_overlap_is_a_login_before_the_end_of_the_former_one() -> None:
    def login(at: float, connection: int, device: str) -> dict[str, object]:
        return {"kind": "connection.logged_in", "at": at, "connection": connection, "device": device}

    def end(at: float, connection: int) -> dict[str, object]:
        return {"kind": "connection.ended", "at": at, "connection": connection}

    orderly = [login(1, 1, "a:1"), end(2, 1), login(2, 2, "a:1"), login(3, 3, "b:1")]
    assert overlaps(orderly) == []
    (pair,) = overlaps([*orderly, login(4, 4, "a:1"), end(5, 2)])
    assert (pair[0].connection, pair[0].until, pair[1].connection, pair[1].since) == (2, 5, 4, 4)
