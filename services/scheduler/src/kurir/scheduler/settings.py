"""Settings of the scheduler."""

from pydantic import Field

from kurir.runtime.settings import RuntimeSettings


class SchedulerSettings(RuntimeSettings):
    """How long history is kept, in days, and how quickly a dead leader is followed."""

    keep_events_days: int = Field(30, ge=1)
    keep_attempts_days: int = Field(30, ge=1)
    keep_changes_days: int = Field(365, ge=1)  # who changed what is asked for long after the messages
    leader_ttl_s: int = Field(
        10, ge=3
    )  # jobs of the timetable are minutes apart; ten seconds without leader do no harm
