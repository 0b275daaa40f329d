"""`kurir session-node`: the supervisor of a node, or one of its shards. What a shard consists of stands in shard.py."""

from functools import partial

import click

from kurir.runtime.broker import Bus
from kurir.runtime.service import Lifetime, run
from kurir.session_node.settings import SessionNodeSettings
from kurir.session_node.supervisor import Supervisor


@click.command("session-node")
@click.option("--shards", type=click.IntRange(1, 64), help="Shard processes of this node (default KURIR_SHARDS, 2).")
@click.option("--shard", type=click.IntRange(0), help="Run one shard alone, by its index.", hidden=True)
@click.option("--life", type=click.IntRange(0), default=0, help="How often that shard was replaced.", hidden=True)
@click.option("--supervised", type=int, help="File descriptor that a supervisor reads from.", hidden=True)
def command(shards: int | None, shard: int | None, life: int, supervised: int | None) -> None:
    """Hold WhatsApp connections: a supervisor and its shard processes."""
    if shard is None:
        overrides = {} if shards is None else {"shards": shards}
        run("session-node", SessionNodeSettings, supervise, **overrides)
    from kurir.session_node.shard import start_shard  # the supervisor does without its imports

    run("session-node", SessionNodeSettings, partial(start_shard, supervised=supervised), shard=shard, shard_life=life)


async def supervise(life: Lifetime, settings: SessionNodeSettings) -> None:
    """Compose the supervisor process."""
    creds = str(settings.nats_creds) if settings.nats_creds else None
    name = f"kurir-session-node {settings.node_name}"
    bus = await Bus.connect(settings.nats_url, name=name, creds=creds)
    life.on_stop("bus", bus.close)
    supervisor = Supervisor(settings, bus, life.metrics, life.crash)
    await supervisor.start()
    life.on_stop("supervisor", supervisor.stop)
    life.health.ready_when("shards", supervisor.all_ready)
    life.health.metrics_from(supervisor.exposition)
