"""What ties a shard to its supervisor: the shard says where its health page is, and ends when the supervisor is gone.

The supervisor holds the writing end of the shard's standard input, which the kernel closes however it dies. So a
shard whose supervisor was killed drains like one that was told to stop, and is no orphan that keeps leases.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable

ORPHAN_EXIT = 1
EXTRA_S = 2.0  # for the stop itself to run out of its grace first


def report_health_port(report_fd: int, url: str) -> None:
    """Tell the supervisor where our health page is, once."""
    with os.fdopen(report_fd, "w") as pipe:
        pipe.write(json.dumps({"health_port": int(url.rsplit(":", 1)[1])}) + "\n")


def follow_supervisor(stop: Callable[[], None], grace_s: float) -> None:
    """Call `stop` on the running loop when the supervisor is gone; end the process if it did not in `grace_s`.

    A thread waits for it, so that also a process whose loop hangs comes to its end.
    """
    loop = asyncio.get_running_loop()

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        try:
            loop.call_soon_threadsafe(stop)
        except RuntimeError:  # the loop is closed: we are ending anyway
            return
        time.sleep(grace_s + EXTRA_S)
        os._exit(ORPHAN_EXIT)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
