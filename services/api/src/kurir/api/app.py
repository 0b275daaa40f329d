"""The HTTP face of Kurir: what it is made of, and how it starts."""

import click
from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.handlers import asgi
from litestar.handlers.asgi_handlers import ASGIRouteHandler
from litestar.types import ControllerRouterHandler, Receive, Scope, Send

from kurir.api.account import keys as account_keys
from kurir.api.account import routes as account
from kurir.api.address_book import routes as address_book
from kurir.api.auth import Authenticator, operator_guard, provide_caller, provide_operator, tenant_guard
from kurir.api.chats import routes as chats
from kurir.api.contacts import routes as contacts
from kurir.api.dashboard import routes as dashboard
from kurir.api.devices import routes as devices
from kurir.api.documents import routes as documents
from kurir.api.embed import routes as embed
from kurir.api.embed.tokens import EmbedTokens, embed_guard
from kurir.api.export import routes as export
from kurir.api.groups import routes as groups
from kurir.api.legacy import baileys_gateway, rk_connect, shared_paths
from kurir.api.legacy.evolution import routes as evolution
from kurir.api.legacy.evolution.socket_io import EvolutionSocket
from kurir.api.legacy.fonnte import dashboard as fonnte_dashboard
from kurir.api.legacy.fonnte import routes as fonnte
from kurir.api.legacy.paths import words_of
from kurir.api.live import event_routes as live_events
from kurir.api.live import routes as live
from kurir.api.live import websocket_protocol
from kurir.api.live.websocket_protocol import WebsocketProtocol
from kurir.api.media import routes as media
from kurir.api.messages import routes as messages
from kurir.api.messages import send
from kurir.api.nodes import routes as nodes
from kurir.api.observed import Observed
from kurir.api.problems import answering
from kurir.api.profile import routes as profile
from kurir.api.projects import routes as projects
from kurir.api.services import Services, open_services
from kurir.api.settings import ApiSettings
from kurir.api.tenants import routes as tenants
from kurir.api.webhooks import attempt_routes as webhook_attempts
from kurir.api.webhooks import replay_routes as webhook_replays
from kurir.api.webhooks import routes as webhooks
from kurir.runtime import service
from kurir.runtime.broker import Bus
from kurir.runtime.health import Health
from kurir.runtime.http_server import HttpServer
from kurir.runtime.service import Lifetime

MAX_BODY_BYTES = 1024 * 1024  # of everything but files, which have limits of their own
OTHERS_STOP_S = (
    5.0  # of the grace period; the rest is for requests in flight. A question takes up to 40 s, most far less
)


def native_routes(authenticator: Authenticator, embed_tokens: EmbedTokens) -> list[ControllerRouterHandler]:
    """Everything that OpenAPI knows, except for the hot path of `messages.send`."""
    tenant: list[ControllerRouterHandler] = [
        account_keys.router(),
        devices.router(),
        groups.router(),
        contacts.router(),
        profile.router(),
        chats.router(),
        address_book.router(),
        export.router(),
        messages.router(),
        media.router(),
        webhooks.router(),
        webhook_attempts.router(),
        webhook_replays.router(),
        projects.router(),
        embed.create_embed_token,
    ]
    return [
        account.router(),
        *live_events.routers(tenant_guard(authenticator)),
        Router("/", guards=[embed_guard(authenticator, embed_tokens)], route_handlers=[live.router()]),
        Router("/", guards=[tenant_guard(authenticator)], route_handlers=tenant),
        Router("/", guards=[operator_guard(authenticator)], route_handlers=[tenants.router(), nodes.router()]),
    ]


def create_app(services: Services, health: Health) -> Litestar:
    """The application over `services`. Every path stands at the root and under `/api`."""
    sends = send.handlers(send.Parts(services.authenticator, services.messages, services.media))
    native = [
        Router(mount, route_handlers=[*native_routes(services.authenticator, services.embed_tokens), *sends])
        for mount in ("/", "/api")
    ]
    provided = {name: getattr(services, name) for name in services.__struct_fields__}
    return Litestar(
        [
            *native,
            documents.router(),
            dashboard.router(),
            embed.router(),
            shared_paths.router(_shared_paths_parts(services)),
            baileys_gateway.router(),
            rk_connect.router(_rk_connect_parts(services)),
            fonnte.router(services),
            *fonnte_dashboard.routers(),
            *evolution.handlers(services),
            *_health_routes(health),
        ],
        dependencies={
            "caller": Provide(provide_caller, sync_to_thread=False),
            "operator": Provide(provide_operator, sync_to_thread=False),
            **{name: _provide(one) for name, one in provided.items()},
        },
        exception_handlers={Exception: answering(words_of)},
        state=State({"node_name": services.node_name}),
        request_max_body_size=MAX_BODY_BYTES,
        openapi_config=None,  # documents.openapi makes the document, of a table of these routes
        logging_config=None,  # runtime.logs has set up logging
    )


async def start(life: Lifetime, settings: ApiSettings) -> None:
    await serve(life, settings)


async def serve(life: Lifetime, settings: ApiSettings) -> HttpServer:
    """The whole service: bus, services, application, and the server that is listening when this returns."""
    bus = await Bus.connect(
        settings.nats_url,
        name=f"api {settings.node_name}",
        creds=str(settings.nats_creds) if settings.nats_creds else None,
        on_closed=lambda: life.end_now("the bus closed the connection for good"),
    )
    life.on_stop("bus", bus.close)
    life.health.ready_when("nats", lambda: bus.connected)
    services = await open_services(life, settings, bus)
    app = Observed(create_app(services, life.health), life.metrics, words_of)
    socket = EvolutionSocket(services.access, services.tickets, services.live)
    server = HttpServer(
        socket.around(app),
        settings.api_host,
        settings.api_port,
        grace_s=max(1.0, settings.shutdown_grace_s - OTHERS_STOP_S),
        ws=WebsocketProtocol,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        **websocket_protocol.OPTIONS,
    )
    await server.start()
    life.on_stop("http", server.stop)
    await life.start("socket.io", socket)
    life.on_stop("live events", services.live.stop)
    life.on_stop("event streams", services.feed.stop)  # they never end by themselves: before the server
    life.health.ready_when("http", lambda: server.is_serving)
    return server


@click.command("api")
def command() -> None:
    """Run the HTTP api (KURIR_API_HOST, KURIR_API_PORT)."""
    service.run("api", ApiSettings, start)


def _shared_paths_parts(of: Services) -> shared_paths.Parts:
    return shared_paths.Parts(of.bots, of.hosts, of.ip_limit, of.access, of.media, of.sender)


def _rk_connect_parts(of: Services) -> rk_connect.Parts:
    return rk_connect.Parts(of.access, of.sender, of.media, of.send_limit, of.changes, of.node_name)


def _provide(one: object) -> Provide:
    return Provide(lambda: one, sync_to_thread=False, use_cache=True)


def _health_routes(health: Health) -> list[ASGIRouteHandler]:
    """Probes on the public port too; metrics only on the health port, which is not public."""

    async def tell(scope: Scope, receive: Receive, send: Send) -> None:
        await health.asgi(scope, receive, send)

    return [asgi(path, copy_scope=False)(tell) for path in ("/health/live", "/health/ready")]
