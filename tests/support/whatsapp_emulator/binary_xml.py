"""WhatsApp's binary XML.

What the emulator says is written in plain strings and JIDs, which the client accepts; what clients say is read with
the dictionaries.
"""

import zlib

from tests.support.whatsapp_emulator.dictionaries import DOUBLE_DICTIONARIES, SINGLE_TOKENS, Dictionaries
from tests.support.whatsapp_emulator.jid import LID_SERVER, PHONE_SERVER, Jid
from tests.support.whatsapp_emulator.stanza import Stanza, Value

LIST_EMPTY, LIST_8, LIST_16 = 0, 248, 249
BINARY_8, BINARY_20, BINARY_32 = 252, 253, 254
AD_JID, JID_PAIR = 247, 250
HEX_8, NIBBLE_8 = 251, 255
COMPRESSED = 2

_AGENT_OF = {PHONE_SERVER: 0, LID_SERVER: 1, "hosted": 128, "hosted.lid": 129}
_SERVER_OF = {agent: server for server, agent in _AGENT_OF.items()}
_ALPHABETS = {NIBBLE_8: "0123456789-.????", HEX_8: "0123456789ABCDEF"}


def encode(stanza: Stanza) -> bytes:
    """One message: a flag byte and the element."""
    out = bytearray(b"\0")
    _write_stanza(out, stanza)
    return bytes(out)


def _write_stanza(out: bytearray, stanza: Stanza) -> None:
    attributes = [(name, value) for name, value in stanza.attributes.items() if value is not None]
    _write_list(out, 2 * len(attributes) + 1 + (stanza.content is not None))
    _write_bytes(out, stanza.tag.encode())
    for name, value in attributes:
        _write_bytes(out, name.encode())
        _write_value(out, value)
    if isinstance(stanza.content, bytes):
        _write_bytes(out, stanza.content)
    elif stanza.content is not None:
        _write_list(out, len(stanza.content))
        for child in stanza.content:
            _write_stanza(out, child)


def _write_list(out: bytearray, length: int) -> None:
    if length == 0:
        out.append(LIST_EMPTY)
    elif length < 1 << 8:
        out += bytes((LIST_8, length))
    else:
        out.append(LIST_16)
        out += length.to_bytes(2, "big")


def _write_bytes(out: bytearray, data: bytes) -> None:
    if len(data) < 1 << 8:
        out += bytes((BINARY_8, len(data)))
    elif len(data) < 1 << 20:
        out.append(BINARY_20)
        out += len(data).to_bytes(3, "big")
    else:
        out.append(BINARY_32)
        out += len(data).to_bytes(4, "big")
    out += data


def _write_value(out: bytearray, value: Value) -> None:
    if not isinstance(value, Jid):
        _write_bytes(out, str(value).encode())
    elif value.device:
        out += bytes((AD_JID, _AGENT_OF[value.server], value.device))
        _write_bytes(out, value.user.encode())
    else:
        out.append(JID_PAIR)
        if value.user:
            _write_bytes(out, value.user.encode())
        else:
            out.append(LIST_EMPTY)
        _write_bytes(out, value.server.encode())


def decode(data: bytes, words: Dictionaries) -> Stanza:
    """Raises ValueError when it is no message of this format."""
    if data[0] & COMPRESSED:
        data = data[:1] + zlib.decompress(data[1:])
    try:
        return _Reader(data, words).stanza()
    except IndexError as error:
        raise ValueError("the message ends early") from error


class _Reader:
    def __init__(self, data: bytes, words: Dictionaries) -> None:
        self._data = data
        self._at = 1
        self._words = words

    def stanza(self) -> Stanza:
        size = self._list_size(self._number(1))
        tag = self._text()
        attributes: dict[str, Value] = {}
        for _ in range((size - 1) // 2):
            name = self._text()
            attributes[name] = self._value()
        return Stanza(tag, attributes, self._content() if size % 2 == 0 else None)

    def _content(self) -> list[Stanza] | bytes | None:
        tag = self._number(1)
        if tag in (LIST_EMPTY, LIST_8, LIST_16):
            return [self.stanza() for _ in range(self._list_size(tag))]
        if tag in (BINARY_8, BINARY_20, BINARY_32):
            return self._binary(tag)
        return str(self._token(tag)).encode()

    def _text(self) -> str:
        return str(self._value())

    def _value(self) -> str | Jid:
        tag = self._number(1)
        if tag in (BINARY_8, BINARY_20, BINARY_32):
            return self._binary(tag).decode()
        return self._token(tag)

    def _token(self, tag: int) -> str | Jid:
        if tag == LIST_EMPTY:
            return ""
        if SINGLE_TOKENS <= tag < SINGLE_TOKENS + DOUBLE_DICTIONARIES:
            return self._words.double[tag - SINGLE_TOKENS][self._number(1)]
        if tag < SINGLE_TOKENS:
            return self._words.single[tag]
        if tag == JID_PAIR:
            return Jid(self._text(), self._text())
        if tag == AD_JID:
            agent, device = self._number(1), self._number(1)
            return Jid(self._text(), _SERVER_OF.get(agent, PHONE_SERVER), device)
        if tag in _ALPHABETS:
            return self._packed(_ALPHABETS[tag])
        raise ValueError(f"tag {tag} at {self._at} is not known")

    def _packed(self, alphabet: str) -> str:
        """Two characters per byte; the high bit of the length says that the last one is filling."""
        length = self._number(1)
        packed = "".join(alphabet[byte >> 4] + alphabet[byte & 15] for byte in self._take(length & 127))
        return packed[:-1] if length & 128 else packed

    def _binary(self, tag: int) -> bytes:
        if tag == BINARY_8:
            return self._take(self._number(1))
        return self._take(self._number(3) & 0xFFFFF if tag == BINARY_20 else self._number(4))

    def _list_size(self, tag: int) -> int:
        if tag == LIST_EMPTY:
            return 0
        if tag not in (LIST_8, LIST_16):
            raise ValueError(f"tag {tag} at {self._at} begins no list")
        return self._number(1 if tag == LIST_8 else 2)

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            raise IndexError
        self._at += size
        return taken
