"""What the embedded system needs to know: ports and folders of this machine."""

from pathlib import Path

from pydantic import Field

from kurir.runtime.settings import RuntimeSettings


class UpSettings(RuntimeSettings):
    """Settings of `kurir up`. Every port may be changed by its variable, e.g. KURIR_API_PORT=8081."""

    state: Path = Path(".state")
    api_port: int = Field(8080, ge=1, le=65535)
    nats_port: int = Field(4222, ge=1, le=65535)
    mongo_port: int = Field(27017, ge=1, le=65535)
    receiver_port: int = Field(8099, ge=1, le=65535)
    health_ports: int = Field(9101, ge=1, le=65000)  # the first of four: api, session-node, dispatcher, scheduler
    shards: int = Field(2, ge=1, le=16)
