"""May we open a connection to this address? Decides on concrete addresses, never on names.

Public unicast addresses are reachable; everything that leads inside (this machine, private nets, cloud metadata,
transition mechanisms that wrap such an address) is refused with a reason, unless the operator allows it by name.
It cannot know an operator's own routed ranges: a site with public addresses inside needs a firewall besides.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Literal

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

Refusal = Literal[
    "unspecified",
    "loopback",
    "private",
    "shared",
    "link_local",
    "site_local",
    "multicast",
    "broadcast",
    "documentation",
    "benchmarking",
    "reserved",
    "transition",
    "https_required",
]

# IANA special-purpose registries (RFC 6890 and its updates). More specific networks come first.
_V4: tuple[tuple[str, Refusal], ...] = (
    ("0.0.0.0/8", "unspecified"),  # "this network": Linux connects 0.0.0.0 to itself
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared"),  # carrier NAT, and the metadata service of one cloud (100.100.100.200)
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link_local"),  # metadata services of most clouds
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "transition"),  # 6to4 relay anycast
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("240.0.0.0/4", "reserved"),
)
_V6: tuple[tuple[str, Refusal], ...] = (
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::/8", "transition"),  # v4-compatible, SIIT (::ffff:0:0:0/96), local NAT64 (64:ff9b:1::/48)
    ("2001:2::/48", "benchmarking"),
    ("2001:db8::/32", "documentation"),
    ("2001::/23", "transition"),  # Teredo wraps a v4 address; ORCHID and the rest is no destination
    ("2002::/16", "transition"),  # 6to4 wraps a v4 address
    ("3fff::/20", "documentation"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link_local"),
    ("fec0::/10", "site_local"),
    ("ff00::/8", "multicast"),
)
_REFUSED_V4 = tuple((IPv4Network(network), reason) for network, reason in _V4)
_REFUSED_V6 = tuple((IPv6Network(network), reason) for network, reason in _V6)
_GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")  # the only space given out so far: the rest is refused unseen
_NAT64_V6 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the v4 destination
_ISATAP_INTERFACE_IDS = (0x0000_5EFE, 0x0200_5EFE)  # RFC 5214: the id's last 32 bits are a v4 address


@dataclass(frozen=True, slots=True)
class AllowedTarget:
    """A network, and optionally one port of it, that the operator lets requests reach over plain HTTP too."""

    network: Network
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> "AllowedTarget":
        """Reads `10.0.0.0/8`, `127.0.0.1/32:8080`, `10.1.2.3`, `fd00::/8` or `[fd00::/8]:443`.

        Raises ValueError naming the entry when it is none of these, or has host bits outside its prefix.
        """
        network, port = text.strip(), ""
        if network.startswith("["):
            network, bracket, port = network[1:].partition("]")
            if not bracket or (port and not port.startswith(":")):
                raise ValueError(f"allowed target {text!r}: expected [network]:port")
            port = port[1:]
        elif network.count(":") == 1:
            network, _, port = network.partition(":")
            if not port:
                raise ValueError(f"allowed target {text!r}: no port after the colon")
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(f"allowed target {text!r}: {port!r} is no port")
        try:
            return cls(ip_network(network), int(port) if port else None)
        except ValueError as error:
            raise ValueError(f"allowed target {text!r}: {error}") from None

    def covers(self, address: Address, port: int) -> bool:
        """Whether a connection to this address and port is meant."""
        return address in self.network and self.port in (None, port)


@dataclass(frozen=True, slots=True)
class AddressGuard:
    """The operator's rule for connections: public addresses over TLS, and what the allow-list names."""

    allowed: tuple[AllowedTarget, ...] = ()
    require_https: bool = True

    @classmethod
    def parse(cls, allowed: Iterable[str], *, require_https: bool = True) -> "AddressGuard":
        """Reads the allow-list, see `AllowedTarget.parse`. Raises ValueError naming the first wrong entry."""
        return cls(tuple(AllowedTarget.parse(entry) for entry in allowed), require_https)

    def refusal(self, address: Address, port: int, *, tls: bool) -> Refusal | None:
        """Why a connection to this address must not be opened; None when it may be."""
        plain = unwrapped(address)
        if any(target.covers(plain, port) for target in self.allowed):
            return None
        return refused_range(plain) or (None if tls or not self.require_https else "https_required")


def unwrapped(address: Address) -> Address:
    """The v4 address that a v4-mapped one (`::ffff:127.0.0.1`) means to the kernel; other addresses as they are."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def refused_range(address: Address) -> Refusal | None:
    """The reason why this address is no public unicast destination; None when it is one.

    NAT64 and ISATAP addresses get the verdict of the v4 address they carry.
    """
    address = unwrapped(address)
    if isinstance(address, IPv4Address):
        return next((reason for network, reason in _REFUSED_V4 if address in network), None)
    last_32 = IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _NAT64_V6:
        return refused_range(last_32)
    for network, reason in _REFUSED_V6:
        if address in network:
            return reason
    if address not in _GLOBAL_UNICAST_V6:
        return "reserved"
    if (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP_INTERFACE_IDS:
        return refused_range(last_32)
    return None
