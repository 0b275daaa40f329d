"""Settings every service shares, read from the environment once at start.

Names are `KURIR_<FIELD>`, except those other tools already define (NATS_URL, MONGODB_URL, ...), which are read
as they are. An empty variable counts as unset, as compose files write it. Values are immutable and handed down
from the composition root; nothing reads the environment later. Secrets never appear in logs, reprs or errors.
"""

import re
import socket
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import AliasChoices, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

S = TypeVar("S", bound="RuntimeSettings")


class SettingsRefused(ValueError):
    """The environment holds a value no service can start with. The message names each variable."""


class RuntimeSettings(BaseSettings):
    """What any Kurir process needs to know. A service subclasses it and adds its own fields."""

    model_config = SettingsConfigDict(
        env_prefix="KURIR_",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # a mistyped master key must not reach the log through its own error
        validate_by_name=True,
        validate_by_alias=True,
    )

    environment: Literal["demo", "production"] = "production"  # strict unless told otherwise
    node_name: str = Field(default_factory=socket.gethostname, min_length=1)  # the pod's name in Kubernetes
    nats_url: str = Field("nats://127.0.0.1:4222", validation_alias=AliasChoices("NATS_URL", "KURIR_NATS_URL"))
    nats_creds: Path | None = Field(None, validation_alias=AliasChoices("NATS_CREDS", "KURIR_NATS_CREDS"))
    mongodb_url: str = Field(
        "mongodb://127.0.0.1:27017/kurir", validation_alias=AliasChoices("MONGODB_URL", "KURIR_MONGODB_URL")
    )
    mongo_driver: Literal["motor", "pymongo"] = Field(
        "motor", validation_alias=AliasChoices("MONGO_DRIVER", "KURIR_MONGO_DRIVER")
    )
    master_key: SecretStr | None = None  # see secrets.MasterKey for the accepted forms
    master_key_file: Path | None = None  # read when master_key is unset: a mounted secret, out of `env`
    health_host: str = "127.0.0.1"  # containers set 0.0.0.0: probes and scrapes come from outside the pod
    health_port: int = Field(0, ge=0, le=65535)  # 0 takes any free port, named in the start-up log
    shutdown_grace_s: float = Field(25.0, gt=0)  # Kubernetes kills at 30 s; 5 s are left for the way out
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias=AliasChoices("LOG_LEVEL", "KURIR_LOG_LEVEL")
    )
    log_format: Literal["json", "console"] = Field(
        "json", validation_alias=AliasChoices("LOG_FORMAT", "KURIR_LOG_FORMAT")
    )
    otel_exporter_otlp_endpoint: str | None = Field(  # unset: no spans are made, traceparent still travels
        None, validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT", "KURIR_OTEL_EXPORTER_OTLP_ENDPOINT")
    )

    @model_validator(mode="before")
    @classmethod
    def _demo_reads_best_on_a_console(cls, values: dict[str, Any]) -> dict[str, Any]:
        format_names = {"log_format", "LOG_FORMAT", "KURIR_LOG_FORMAT"}
        if values.get("environment") == "demo" and not format_names & values.keys():
            return {**values, "log_format": "console"}
        return values

    @property
    def is_demo(self) -> bool:
        return self.environment == "demo"

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        return list(summary(self).items())


def load(settings_type: type[S], **overrides: Any) -> S:
    """Read settings of `settings_type` from the environment; `overrides` (by field name) win.

    Raises SettingsRefused with one sentence a line, naming the variable but never its value.
    """
    try:
        return settings_type(**overrides)
    except ValidationError as error:
        problems = (f"{_variable_of(settings_type, e['loc'])}: {e['msg']}" for e in error.errors())
        raise SettingsRefused("\n".join(problems)) from None


def summary(settings: RuntimeSettings) -> dict[str, Any]:
    """All settings by field name as plain values for the start-up log, secrets and URL passwords masked."""
    return {name: _shown(getattr(settings, name)) for name in type(settings).model_fields}


def mask_url_password(text: str) -> str:
    """Replace the password (or the lone token) of any `scheme://user:password@host` in `text` by `***`."""
    return _URL_USER.sub(lambda m: f"{m['scheme']}{m['user'] + ':' if m['user'] else ''}***@", text)


# user: optional, because nats://token@host carries a token alone, which is as secret as a password
_URL_USER = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?:(?P<user>[^\s/:@]*):)?[^\s/@]+@", re.IGNORECASE)


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, Path):
        return str(value)
    return mask_url_password(value) if isinstance(value, str) else value


def _variable_of(settings_type: type[RuntimeSettings], location: tuple[int | str, ...]) -> str:
    field_name = str(location[0]) if location else "settings"
    field = settings_type.model_fields.get(field_name)
    if field is not None and isinstance(field.validation_alias, AliasChoices):
        return str(field.validation_alias.choices[0])
    return field_name if field is None else f"KURIR_{field_name.upper()}"
