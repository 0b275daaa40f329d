"""`/operator/nodes`: session nodes, for operators."""

from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from kurir.api.auth import Operator
from kurir.api.nodes.schemas import NodeView
from kurir.api.nodes.service import Nodes


@get("/")
async def list_nodes(operator: NamedDependency[Operator], nodes: NamedDependency[Nodes]) -> list[NodeView]:
    """All session nodes that are alive or cordoned."""
    return nodes.all()


@get("/{node:str}")
async def show_node(
    node: FromPath[str], operator: NamedDependency[Operator], nodes: NamedDependency[Nodes]
) -> NodeView:
    """One session node."""
    return nodes.get(node)


@post("/{node:str}/cordon", status_code=200)
async def cordon_node(
    node: FromPath[str], operator: NamedDependency[Operator], nodes: NamedDependency[Nodes]
) -> NodeView:
    """Let a node take no more partitions; it keeps those it has."""
    return await nodes.want(operator.key, node, "cordoned")


@post("/{node:str}/drain", status_code=200)
async def drain_node(
    node: FromPath[str], operator: NamedDependency[Operator], nodes: NamedDependency[Nodes]
) -> NodeView:
    """Let a node give its partitions away, one by one. Answers at once: it is done when `partitions` is 0."""
    return await nodes.want(operator.key, node, "drained")


@post("/{node:str}/uncordon", status_code=200)
async def uncordon_node(
    node: FromPath[str], operator: NamedDependency[Operator], nodes: NamedDependency[Nodes]
) -> NodeView:
    """Let a node take partitions again."""
    return await nodes.want(operator.key, node, "open")


routes = (list_nodes, show_node, cordon_node, drain_node, uncordon_node)


def router() -> Router:
    return Router("/operator/nodes", route_handlers=routes, tags=["Operators"])
