"""Stanzas: the XML-like elements that client and server exchange."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.support.whatsapp_emulator.jid import Jid

Value = str | int | Jid | None

SHOWN_BYTES = 40


@dataclass(slots=True)
class Stanza:
    """An element. Attributes of value None are not sent; a JID must be a Jid, since the client ignores it as text."""

    tag: str
    attributes: Mapping[str, Value] = field(default_factory=dict)
    content: "list[Stanza] | bytes | None" = None

    @property
    def children(self) -> "list[Stanza]":
        return self.content if isinstance(self.content, list) else []

    @property
    def data(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else b""

    def child(self, tag: str) -> "Stanza":
        """The first child of that tag. Raises KeyError."""
        found = self.find(tag)
        if found is None:
            raise KeyError(f"<{self.tag}> has no <{tag}>")
        return found

    def find(self, tag: str) -> "Stanza | None":
        return next((child for child in self.children if child.tag == tag), None)

    def all(self, tag: str) -> "list[Stanza]":
        return [child for child in self.children if child.tag == tag]

    def get(self, name: str) -> str | None:
        """An attribute as text."""
        value = self.attributes.get(name)
        return None if value is None else str(value)

    def jid(self, name: str) -> Jid:
        """An attribute that must be a JID. Raises KeyError."""
        value = self.attributes.get(name)
        if not isinstance(value, Jid):
            raise KeyError(f"<{self.tag}> has no JID {name!r}")
        return value

    def find_jid(self, name: str) -> Jid | None:
        value = self.attributes.get(name)
        return value if isinstance(value, Jid) else None

    def with_attributes(self, more: Mapping[str, Value]) -> "Stanza":
        return Stanza(self.tag, {**self.attributes, **more}, self.content)

    def __str__(self) -> str:
        attributes = "".join(f' {name}="{value}"' for name, value in self.attributes.items() if value is not None)
        if self.content is None:
            return f"<{self.tag}{attributes}/>"
        if isinstance(self.content, bytes):
            shown = self.content.hex() if len(self.content) <= SHOWN_BYTES else f"({len(self.content)} bytes)"
        else:
            shown = "".join(map(str, self.content[:12])) + ("…" if len(self.content) > 12 else "")
        return f"<{self.tag}{attributes}>{shown}</{self.tag}>"


def leaf(tag: str, content: bytes | str, **attributes: Value) -> Stanza:
    """An element that holds bytes."""
    return Stanza(tag, attributes, content.encode() if isinstance(content, str) else content)


def parent(tag: str, children: Iterable[Stanza], **attributes: Value) -> Stanza:
    """An element that holds elements."""
    return Stanza(tag, attributes, list(children))
