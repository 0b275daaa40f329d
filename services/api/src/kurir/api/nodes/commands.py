"""`kurir nodes`: session nodes from the command line."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from kurir.api.changes import Changes
from kurir.api.command_line import ACTOR, run, started
from kurir.api.nodes.schemas import NodeView
from kurir.api.nodes.service import Nodes
from kurir.contracts.records import Holder, Node, Shard
from kurir.runtime.broker import Bus
from kurir.runtime.clock import SystemClock
from kurir.runtime.registry import Registry

LOOK_S = 0.25
DRAINED_WITHIN_S = 300.0

T = TypeVar("T")


@click.group()
def nodes() -> None:
    """Session nodes: which are there, and which may hold devices."""


@nodes.command("list")
def list_nodes() -> None:
    """List nodes: name, state, partitions, sessions of capacity."""

    async def all_of(nodes: Nodes) -> list[NodeView]:
        return nodes.all()

    for one in _run(all_of):
        _say(one)


@nodes.command("cordon")
@click.argument("name")
def cordon(name: str) -> None:
    """Let a node take no more partitions; it keeps those it has."""
    _say(_run(lambda nodes: nodes.want(ACTOR, name, "cordoned")))


@nodes.command("uncordon")
@click.argument("name")
def uncordon(name: str) -> None:
    """Let a node take partitions again."""
    _say(_run(lambda nodes: nodes.want(ACTOR, name, "open")))


@nodes.command("drain")
@click.argument("name")
@click.option("--within", "within_s", default=DRAINED_WITHIN_S, show_default=True, help="Seconds to wait for it.")
def drain(name: str, within_s: float) -> None:
    """Let a node give its partitions away, and wait until it has none; then it may be stopped."""

    async def drained(nodes: Nodes) -> NodeView:
        node = await nodes.want(ACTOR, name, "drained")
        try:
            async with asyncio.timeout(within_s):
                while node.partitions:
                    await asyncio.sleep(LOOK_S)
                    node = nodes.get(name)
        except TimeoutError:
            left = f"{node.name} still has {node.partitions} partitions after {within_s:.0f} s, and goes on."
            raise click.ClickException(left) from None
        return node

    _say(_run(drained))


def _say(node: NodeView) -> None:
    held = f"{node.partitions} partitions\t{node.sessions} of {node.capacity} sessions\t{node.shards} shards"
    click.echo(f"{node.name}\t{node.state}\t{held}")
    if node.note is not None:
        click.echo(node.note, err=True)


def _run(work: Callable[[Nodes], Awaitable[T]]) -> T:
    async def over(bus: Bus) -> T:
        clock = SystemClock()
        known = Registry(bus, "nodes", Node), Registry(bus, "shards", Shard), Registry(bus, "leases", Holder)
        async with started(*known):
            return await work(Nodes(clock, Changes(bus, clock), *known))

    return run(over)
