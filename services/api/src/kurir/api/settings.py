"""Settings of the api service, beside those every service has."""

from pydantic import Field

from kurir.contracts.records import Engine
from kurir.runtime.settings import RuntimeSettings


class ApiSettings(RuntimeSettings):
    """Read from KURIR_API_HOST, KURIR_API_PORT and so on."""

    api_host: str = "127.0.0.1"  # containers set 0.0.0.0
    api_port: int = Field(8080, ge=0, le=65535)
    default_engine: Engine = "neonize"  # of devices whose creator names none
    egress_allow: str = ""  # networks, split by commas, that webhooks and media may reach though they are not public

    @property
    def egress_allowed(self) -> tuple[str, ...]:
        return tuple(entry.strip() for entry in self.egress_allow.split(",") if entry.strip())
