"""Settings of the api service, beside those every service has."""

import ipaddress
from typing import cast, get_args

from pydantic import Field, field_validator

from kurir.contracts.records import Dialect, Engine
from kurir.runtime.addresses import AddressGuard
from kurir.runtime.settings import RuntimeSettings


class ApiSettings(RuntimeSettings):
    """Read from KURIR_API_HOST, KURIR_EGRESS_ALLOW and so on."""

    api_host: str = "127.0.0.1"  # containers set 0.0.0.0
    api_port: int = Field(8080, ge=0, le=65535)
    public_url: str = "http://127.0.0.1:8080"  # where tenants reach this api, for the URLs of media in events
    default_engine: Engine = "neonize"  # of devices whose creator names none

    # The same as the webhook-dispatcher's: a URL that it would not post to is refused when it is given.
    egress_allow: str = ""  # networks, split by commas, that webhooks and media may reach though they are not public
    egress_require_https: bool = True  # of webhooks; media are fetched by plain HTTP too
    egress_proxy: str = ""  # http://user:password@host:port, for media; it then has to guard the addresses
    egress_ca_file: str | None = None  # PEM, instead of the public certificate authorities

    # Of other gateways' APIs.
    hosts: str = ""  # host=dialect, split by commas: whose words are spoken there at paths that several APIs have
    requests_per_hour: int = Field(100, ge=0)  # from one address to the Baileys gateway's API; 0 is no limit
    trusted_proxies: str = ""  # addresses and networks, split by commas, whose X-Forwarded-For tells the address
    anonymous_device: str = ""  # <tenant>/<device>: for it requests without a key act, where another API allows that

    @field_validator("anonymous_device")
    @classmethod
    def _names_a_device(cls, text: str) -> str:
        if text and not all(text.partition("/")[::2]):
            raise ValueError("give <tenant>/<device id or code>")
        return text

    @property
    def anonymous(self) -> tuple[str, str] | None:
        tenant, _, device = self.anonymous_device.partition("/")
        return (tenant, device) if device else None

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, text: str) -> str:
        for entry in _split(text):
            ipaddress.ip_network(entry)
        return text

    @field_validator("hosts")
    @classmethod
    def _names_dialects(cls, text: str) -> str:
        for entry in _split(text):
            host, _, dialect = entry.partition("=")
            if not host or dialect not in get_args(Dialect):
                raise ValueError(f"give host=dialect; dialects are {', '.join(get_args(Dialect))}")
        return text

    @property
    def dialects_of_hosts(self) -> dict[str, Dialect]:
        pairs = (entry.partition("=") for entry in _split(self.hosts))
        return {host.lower(): cast("Dialect", dialect) for host, _, dialect in pairs}

    @field_validator("egress_allow")
    @classmethod
    def _readable(cls, text: str) -> str:
        AddressGuard.parse(_split(text))
        return text

    @property
    def egress_allowed(self) -> tuple[str, ...]:
        return _split(self.egress_allow)


def _split(text: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())
