"""A process that holds a lease and works under it, for tests that freeze or kill it.

Usage: python lease_holder.py <nats url> <bucket> <key> <holder> <ttl seconds> [killable]
Prints `holding <token>`, then `worked <monotonic ns>` for each act that it did under a valid lease, and
`refused <ns>` when it was about to act and saw that the lease is not valid; `lost` when it was told so. A `killable`
one is ended by the kernel instead when it stands still. On SIGUSR1 its loop hangs for good.
"""

import asyncio
import signal
import sys
import time

from kurir.runtime.broker import Bus
from kurir.runtime.kill_timer import KillTimer
from kurir.runtime.lease import Lease, LeaseKeeper

ACT_EVERY_S = 0.01
FOR_GOOD_S = 600


def say(*words: object) -> None:
    print(*words, flush=True)


async def main(url: str, bucket: str, key: str, holder: str, ttl_s: str, killable: str = "") -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, time.sleep, FOR_GOOD_S)
    bus = await Bus.connect(url, name=holder)

    def on_lost(lease: Lease) -> None:
        say("lost", time.monotonic_ns())

    kill_timer = KillTimer() if killable else None
    keeper = LeaseKeeper(bus, bucket, holder=holder, node="n", ttl_s=int(ttl_s), on_lost=on_lost, kill_timer=kill_timer)
    await keeper.start()
    while (lease := await keeper.claim(key)) is None:
        await asyncio.sleep(ACT_EVERY_S)
    say("holding", lease.token)
    while True:
        # Looking and acting are one step here: between them a freeze could not be told from a late act.
        if not lease.valid():
            say("refused", time.monotonic_ns())
            break
        say("worked", time.monotonic_ns())
        await asyncio.sleep(ACT_EVERY_S)
    await keeper.stop()
    await bus.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
