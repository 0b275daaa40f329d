"""What the sessions of one process share."""

import asyncio
from typing import NamedTuple

from kurir.session_node.engines.engine import Capability
from kurir.session_node.engines.neonize.device_store import DeviceStore
from kurir.session_node.engines.neonize.former_links import FormerLinks
from kurir.session_node.engines.neonize.gate import Gate
from kurir.session_node.engines.neonize.library import Library
from kurir.session_node.engines.neonize.media_forms import MediaForms
from kurir.session_node.engines.neonize.sending import Transfers
from kurir.session_node.engines.neonize.way_out import WayOut
from kurir.session_node.engines.neonize.workers import Workers


class Shared(NamedTuple):
    """`workers` make the calls of the library that hold a session up, `questions` all others. `pairings` is taken while
    a device is paired.
    """

    library: Library
    store: DeviceStore
    way_out: WayOut
    workers: Workers
    questions: Workers
    gate: Gate
    forms: MediaForms
    transfers: Transfers
    pairings: asyncio.Semaphore
    former_links: FormerLinks
    capabilities: frozenset[Capability]
    ack_timeout_s: float
