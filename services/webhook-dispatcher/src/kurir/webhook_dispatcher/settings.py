"""Settings of the webhook-dispatcher, beside those every service has."""

from pydantic import Field, field_validator

from kurir.runtime.settings import RuntimeSettings
from kurir.webhook_dispatcher.retry_schedule import DEFAULT_DELAYS_S, parse_delays


class DispatcherSettings(RuntimeSettings):
    """Read from KURIR_RETRY_SCHEDULE, KURIR_EGRESS_ALLOW and so on. Times in seconds."""

    retry_schedule: str = ",".join(f"{delay:g}" for delay in DEFAULT_DELAYS_S)  # delays between attempts, by commas
    attempt_deadline_s: float = Field(15.0, gt=0, le=25)  # of one request in all; must stay well below ack_wait
    response_cap_bytes: int = Field(16_384, ge=0)  # of the answer's body, kept for the audit
    public_url: str = "http://127.0.0.1:8080"  # where tenants reach the api, for the URLs of media in webhooks
    inline_file_max_bytes: int = Field(8 * 1024**2, ge=0)  # of a file that an endpoint wants in the body itself

    egress_allow: str = ""  # networks, split by commas, that webhooks may reach though they are not public
    egress_require_https: bool = True
    egress_proxy: str = ""  # http://user:password@host:port; it then has to guard the addresses
    egress_ca_file: str | None = None  # PEM, instead of the public certificate authorities
    max_in_flight: int = Field(1_000, gt=0)  # requests at once, over all endpoints
    in_flight_per_tenant: int = Field(250, gt=0)  # at once: a few tenants with slow endpoints leave room for the others
    in_flight_per_endpoint: int = Field(100, gt=0)  # at most, whatever its tenant asks for

    circuit_threshold: int = Field(5, gt=0)  # failures in a row that open an endpoint's circuit
    circuit_first_s: float = Field(30.0, gt=0)
    circuit_longest_s: float = Field(900.0, gt=0)
    disable_after_s: float = Field(5 * 86_400.0, gt=0)  # of failures alone, then an endpoint is disabled

    # Above either, no more events are fanned out; they wait in EVENTS. A retry waits about 1 kB large for three days.
    max_pending_deliveries: int = Field(5_000_000, gt=0)
    max_pending_bytes: int = Field(8 * 1024**3, gt=0)
    # Beyond it what is for an endpoint goes to DEAD: one event a second for the three days of the retry schedule, and a
    # twentieth of the places that there are in all.
    max_waiting_per_endpoint: int = Field(250_000, gt=0)

    history_batch: int = Field(500, gt=0, le=5_000)  # facts per write; more brings no more speed
    history_wait_s: float = Field(0.05, ge=0)  # how long a write waits to get fuller

    @field_validator("retry_schedule")
    @classmethod
    def _readable(cls, text: str) -> str:
        parse_delays(text)
        return text

    @property
    def retry_delays_s(self) -> tuple[float, ...]:
        return parse_delays(self.retry_schedule)

    @property
    def egress_allowed(self) -> tuple[str, ...]:
        return tuple(entry.strip() for entry in self.egress_allow.split(",") if entry.strip())
