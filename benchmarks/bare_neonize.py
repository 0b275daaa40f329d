"""Neonize alone, as its own documentation uses it, the floor of the engine's figures: a process that does as told.

Stores are in WAL mode, as Kurir opens them, unless neonize's own way is asked for. Lines in and out are JSON.
"""

import asyncio
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from neonize._binder import ProxySettings
from neonize.aioze.client import NewAClient
from neonize.aioze.events import ConnectedEv
from neonize.utils.jid import build_jid

from benchmarks.floors import cpu_s

WAL = "?_journal_mode=WAL&_synchronous=NORMAL&_foreign_keys=on&x="  # neonize appends "?_foreign_keys=on"
OPEN_WITHIN_S = 30.0
CALLS_AT_ONCE = 16


class Bare:
    """`open` and `send` are called one after the other: opening together can end the library's process."""

    def __init__(self, proxy: str) -> None:
        self._proxy = proxy
        self._clients: list[Any] = []

    async def ready(self) -> bool:
        return True

    async def open(self, stores: list[str], is_wal: bool = True) -> float:
        """Log in from these stores; seconds until all are connected."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(len(stores) + CALLS_AT_ONCE))
        began = time.perf_counter()
        for store in stores:
            client = NewAClient(store + WAL if is_wal else store, uuid=f"bare-{len(self._clients)}")
            client._stop_finalizer.detach()
            connected = asyncio.Event()

            async def on_connected(_: Any, __: Any, connected: asyncio.Event = connected) -> None:
                connected.set()

            client.event(ConnectedEv)(on_connected)
            await client.connect(ProxySettings(self._proxy))
            await asyncio.wait_for(connected.wait(), OPEN_WITHIN_S)
            self._clients.append(client)
        return time.perf_counter() - began

    async def send(self, phone: str, text: str, seconds: float) -> tuple[float, float]:
        """Send by the first client without a pause; messages a second, and CPU microseconds of a message."""
        to, client, count = build_jid(phone), self._clients[0], 0
        began, cpu_before = time.perf_counter(), cpu_s()
        while time.perf_counter() - began < seconds:
            await client.send_message(to, text)
            count += 1
        took = time.perf_counter() - began
        return count / took, (cpu_s() - cpu_before) / count * 1e6


async def main(proxy: str) -> None:
    bare = Bare(proxy)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        what, *arguments = json.loads(line)
        said = await getattr(bare, what)(*arguments)
        os.write(LINES, json.dumps(said).encode() + b"\n")
    os._exit(0)  # the library's threads do not end by themselves


if __name__ == "__main__":
    LINES = os.dup(1)
    os.dup2(2, 1)  # the library prints
    asyncio.run(main(sys.argv[1]))
