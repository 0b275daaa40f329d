"""In whose words an error at a path is told: each API's own, for unknown paths and methods too. Pure."""

from kurir.api.legacy import baileys_gateway, rk_connect
from kurir.api.legacy.evolution import calls as evolution
from kurir.api.legacy.evolution import routes as evolution_routes
from kurir.api.legacy.fonnte import telling as fonnte
from kurir.api.problems import Words, native_answer

WORDS: tuple[tuple[str, Words], ...] = (
    *((prefix, evolution.words) for prefix in evolution_routes.PREFIXES),
    *((path, baileys_gateway.words) for path in baileys_gateway.PATHS),
    (f"{rk_connect.PREFIX}/", rk_connect.words),
    *((path, fonnte.words) for path in fonnte.PATHS),
    ("/api/send-media/", fonnte.dashboard_words),
)
"""What a path begins with, and how its API tells a problem; the longest that fits counts. A prefix that ends in a
slash also stands for the path without it."""


NATIVE = frozenset(
    {
        "admin",
        "auth",
        "chats",
        "contact-groups",
        "contacts",
        "dashboard",
        "deliveries",
        "devices",
        "docs",
        "embed",
        "events",
        "export",
        "groups",
        "health",
        "llms-full.txt",
        "llms.txt",
        "media",
        "messages",
        "nodes",
        "openapi.json",
        "operator",
        "tenants",
        "webhooks",
    }
)
"""What the native API's paths begin with, at the root and under /api."""


def words_of(path: str) -> Words:
    """The words of the API that answers at `path`; where none does, of the Baileys gateway, whose clients expect to
    be told so at any path."""
    fitting = [(prefix, words) for prefix, words in WORDS if f"{path}/".startswith(prefix)]
    if fitting:
        return max(fitting, key=lambda row: len(row[0]))[1]
    first, _, rest = path.lstrip("/").partition("/")
    begins = rest.partition("/")[0] if first == "api" else first
    return native_answer if begins in NATIVE else baileys_gateway.words
