"""How fast one device may send: a token bucket, a little jitter, and a pause while WhatsApp is angry.

Pure: the caller brings the time, waits, and asks again. A bucket holds one minute's worth, so a device that was quiet
may send that many at once and then one by one. Not covered: the api's limit of accepted messages.
"""

import random

JITTER = 0.2  # of a wait: machines that send every 2.000 s look like machines
MINUTE_S = 60.0


class Pace:
    """The bucket of one device; times are seconds of one monotonic clock.

    `per_minute` 0 means no limit. `last_sent_s_ago` is what is known of a former owner's last send (None: nothing):
    a bucket that moved starts no fuller than it can have become since.
    """

    def __init__(self, per_minute: int, now: float, last_sent_s_ago: float | None = None) -> None:
        self._per_minute = per_minute
        since = MINUTE_S if last_sent_s_ago is None else min(max(last_sent_s_ago, 0.0), MINUTE_S)
        self._tokens = per_minute * since / MINUTE_S
        self._at = now
        self._paused_until = 0.0

    def set_rate(self, per_minute: int, now: float) -> None:
        """Go on at another rate; what is in the bucket is cut to its new size."""
        self._refill(now)
        if self._per_minute == 0:
            self._tokens = float(per_minute)
        self._per_minute = per_minute
        self._tokens = min(self._tokens, float(per_minute))

    def pause_until(self, at: float) -> None:
        """Send nothing before `at`; an earlier end of a pause never replaces a later one."""
        self._paused_until = max(self._paused_until, at)

    def wait_s(self, now: float, jitter: float | None = None) -> float:
        """Seconds until one message may be sent; 0 means now. `jitter` in 0..1 replaces the random one."""
        pause = max(0.0, self._paused_until - now)
        if self._per_minute == 0:
            return pause
        self._refill(now)
        if self._tokens >= 1 - 1e-9:  # what rounding takes away must not cost another wait
            return pause
        until_token = (1 - self._tokens) * MINUTE_S / self._per_minute
        return max(pause, until_token * (1 + JITTER * (random.random() if jitter is None else jitter)))

    def take(self, now: float) -> None:
        """One message is sent now. Ask `wait_s` first."""
        if self._per_minute > 0:
            self._refill(now)
            self._tokens = max(0.0, self._tokens - 1)

    def _refill(self, now: float) -> None:
        passed, self._at = max(0.0, now - self._at), now
        self._tokens = min(float(self._per_minute), self._tokens + passed * self._per_minute / MINUTE_S)
