"""The OpenAPI 3.1 document, made from the routes and the structs that they read and write.

`document()` is what `/api/openapi.json` serves and what `docs/openapi.json` holds; a test keeps them equal.
"""

import importlib.metadata
import re
from functools import cache
from typing import Any, cast, get_args

import msgspec
from litestar import Litestar
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme, Server, Tag

from kurir.api.documents.errors import COMMON_ERRORS, ERRORS_OF, ERRORS_OF_SENDING
from kurir.api.media.kinds import EXTENSIONS, LIMITS, MIB
from kurir.api.messages.requests import SendMedia, SendRequest
from kurir.api.messages.send import SENDS
from kurir.api.messages.service import Accepted
from kurir.api.problems import ErrorBody
from kurir.contracts.errors import ERRORS, ErrorCode

TITLE = "Kurir"
VERSION = importlib.metadata.version("kurir-api")
DESCRIPTION = """A WhatsApp gateway. Create a device, connect it by QR code, send messages, get webhooks.

Send your API key in the header `X-API-Key`. Every path stands at the root and under `/api`."""

_REF = "#/components/schemas/{name}"


@cache
def document() -> dict[str, Any]:
    """The document as plain JSON values, its keys in a fixed order."""
    made = _of_routes()
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    types = [Accepted, ErrorBody, *(request for request, _ in SENDS.values())]
    _, components = msgspec.json.schema_components(types, ref_template=_REF)
    for name, schema in components.items():
        schemas.setdefault(name, schema)
    for path, (request, sentence) in SENDS.items():
        made["paths"][path] = {"post": _send_operation(path, request, sentence)}
    made["paths"] = dict(sorted((_camel(path), item) for path, item in made["paths"].items()))
    for path, item in made["paths"].items():
        for operation in item.values():
            _name(operation)
            _tell_errors(operation, path)
    for schema in schemas.values():  # that of whichever field was met first, which differs from process to process
        schema.pop("default", None)
    made["components"]["schemas"] = dict(sorted(schemas.items()))
    # Round trip: enums and the like become what they are in JSON.
    return cast("dict[str, Any]", msgspec.json.decode(msgspec.json.encode(made)))


@cache
def document_bytes() -> bytes:
    """The document as it is served, and as it stands in `docs/openapi.json`."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=1) + b"\n"


def _of_routes() -> dict[str, Any]:
    from kurir.api.app import native_routes  # the application serves this document, and this document is made of it
    from kurir.api.auth import Authenticator
    from kurir.api.services import Services

    nobody = Authenticator(cast("Any", {}), cast("Any", {}))
    names = ("caller", "operator", *Services.__struct_fields__)
    app = Litestar(
        native_routes(nobody, cast("Any", None)),
        dependencies={name: Provide(lambda: None, sync_to_thread=False) for name in names},
        openapi_config=OpenAPIConfig(
            title=TITLE,
            version=VERSION,
            description=DESCRIPTION,
            servers=[Server(url="/"), Server(url="/api")],
            security=[{"apiKey": []}],
            components=Components(
                security_schemes={
                    "apiKey": SecurityScheme(
                        type="apiKey", name="X-API-Key", security_scheme_in="header", description="64 hex characters"
                    )
                }
            ),
            tags=[
                Tag(name="Account", description="Your key."),
                Tag(name="Devices", description="WhatsApp numbers and their connection."),
                Tag(name="Groups", description="The groups that a device is in."),
                Tag(name="Contacts", description="Whom a device knows, and which numbers have WhatsApp."),
                Tag(name="Address book", description="Names that you have given to numbers, and groups of them."),
                Tag(name="Profile", description="What a device's account shows of itself, and to whom."),
                Tag(name="Chats", description="What a device shows to others, and how its chats stand."),
                Tag(name="Messages", description="Sending, and what became of it."),
                Tag(
                    name="Projects",
                    description="Tokens for applications, and QR codes in their pages.",
                ),
                Tag(name="Events", description="What happens, live."),
                Tag(name="Export", description="What happened, as files."),
                Tag(name="Webhooks", description="Where events are sent, signed."),
                Tag(name="Operators", description="Tenants and their keys, and session nodes, with an operator's key."),
            ],
            use_handler_docstrings=True,
            operation_id_creator=lambda handler, _method, _path: _camel(handler.handler_name),
        ),
        logging_config=None,
    )
    return app.openapi_schema.to_schema()


def _name(operation: dict[str, Any]) -> None:
    """The summary is the first sentence of what is said; parameters are named as fields are."""
    operation["summary"] = operation["description"].partition(". ")[0].rstrip(".")
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            parameter["name"] = _camel(parameter["name"])


def _camel(text: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), text)


def _send_operation(path: str, request: type[SendRequest], sentence: str) -> dict[str, Any]:
    body: dict[str, Any] = {"application/json": {"schema": _ref(request)}}
    own = vars(request).get("__doc__") or ""
    description = f"{own} {SendRequest.__doc__}"
    if request is SendMedia:
        body["multipart/form-data"] = {"schema": _form_schema()}
        description += " " + _limits()
    first, *others = path.rpartition("/")[2].split("-")
    operation_id = first + "".join(part.capitalize() for part in others)
    return {
        "tags": ["Messages"],
        "description": " ".join(f"{sentence} {description}".split()),
        "operationId": operation_id,
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "The same key and body is the same message, for 24 hours.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }
        ],
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": {
                "description": "Accepted: the message is stored and will be sent.",
                "headers": _rate_headers(),
                "content": {"application/json": {"schema": _ref(Accepted)}},
            },
            **{str(status): _error(status, codes) for status, codes in ERRORS_OF_SENDING.items()},
        },
        "security": [{"apiKey": []}],
    }


def _form_schema() -> dict[str, Any]:
    (_,), components = msgspec.json.schema_components([SendMedia], ref_template=_REF)
    schema = dict(components["SendMedia"])
    schema["properties"] = {
        **{name: given for name, given in schema["properties"].items() if name != "url"},
        "file": {"type": "string", "format": "binary"},
    }
    schema["required"] = [*schema["required"], "file"]
    return schema


def _limits() -> str:
    return " ".join(
        f"{kind.capitalize()}: {', '.join(EXTENSIONS[kind])}, up to {limit // MIB} MB."
        for kind, limit in LIMITS.items()
    )


def _rate_headers() -> dict[str, Any]:
    return {
        "X-RateLimit-Limit": _integer("Messages a minute for this device"),
        "X-RateLimit-Remaining": _integer("What is left of them in this minute"),
        "X-RateLimit-Reset": _integer("When this minute ends, in Unix seconds"),
    }


def _integer(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "integer"}}


def _tell_errors(operation: dict[str, Any], path: str) -> None:
    """Our own error body in place of the framework's, and the errors that every path may answer."""
    responses = operation["responses"]
    told = {**COMMON_ERRORS}
    if operation.get("requestBody") or "400" in responses:
        told[400] = ERRORS_OF_SENDING[400] if path in SENDS else ("VALIDATION_ERROR", "INVALID_JSON")
    if "{" in path:
        told[404] = _not_found(path)
    told |= ERRORS_OF.get(operation["operationId"], {})
    for status, codes in told.items():
        responses[str(status)] = _error(status, codes)
    operation["responses"] = dict(sorted(responses.items()))


def _not_found(path: str) -> tuple[ErrorCode, ...]:
    found = [code for code in get_args(ErrorCode) if code.endswith("_NOT_FOUND")]
    feature = path.split("/")[1].rstrip("s").upper()
    return tuple(code for code in found if code.startswith(feature)) or ("NOT_FOUND",)


def _error(status: int, codes: tuple[ErrorCode, ...]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": " ".join(f"{code}: {ERRORS[code].sentence}" for code in codes),
        "content": {"application/json": {"schema": _ref(ErrorBody)}},
    }
    if status in (429, 503, 504):
        rate = _rate_headers() if "RATE_LIMIT_EXCEEDED" in codes else {}
        described["headers"] = {**rate, "Retry-After": _integer("Seconds to wait")}
    return described


def _ref(type_: type) -> dict[str, str]:
    return {"$ref": _REF.format(name=type_.__name__)}
