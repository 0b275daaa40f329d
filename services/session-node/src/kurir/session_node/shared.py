"""What all sessions of a shard share."""

from typing import NamedTuple

from kurir.contracts.records import Session
from kurir.runtime.broker import Bus
from kurir.runtime.objects import ObjectStore
from kurir.runtime.registry import Registry
from kurir.runtime.secrets import MasterKey
from kurir.session_node.admission import Admission
from kurir.session_node.engine_room import EngineRoom
from kurir.session_node.link_preview import LinkPreviews
from kurir.session_node.meters import Meters
from kurir.session_node.watchdog import SILENT_AFTER_S


class Shared(NamedTuple):
    """`inbound_media_max_bytes` is the size of the largest received file that is kept. `master_key` opens devices'
    proxies; a node without it leaves devices that have one alone. A session that tells nothing for `silent_after_s` is
    asked whether it is still there.
    """

    bus: Bus
    media: ObjectStore
    sessions: Registry[Session]
    engines: EngineRoom
    admission: Admission
    meters: Meters
    previews: LinkPreviews
    node: str
    shard: str
    inbound_media_max_bytes: int
    master_key: MasterKey | None = None
    silent_after_s: float = SILENT_AFTER_S
