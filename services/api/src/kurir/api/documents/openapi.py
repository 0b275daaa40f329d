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

ERRORS_OF_SENDING: dict[int, tuple[ErrorCode, ...]] = {
    400: ("VALIDATION_ERROR", "INVALID_JSON", "INVALID_RECIPIENT", "URL_NOT_ALLOWED", "MEDIA_FETCH_FAILED"),
    404: ("DEVICE_NOT_FOUND",),
    409: ("IDEMPOTENCY_CONFLICT",),
    413: ("PAYLOAD_TOO_LARGE", "MEDIA_TOO_LARGE"),
    415: ("UNSUPPORTED_MEDIA_TYPE",),
    429: ("RATE_LIMIT_EXCEEDED", "BACKLOG_FULL"),
    503: ("SERVICE_UNAVAILABLE",),
}
_COMMON_ERRORS: dict[int, tuple[ErrorCode, ...]] = {
    401: ("MISSING_API_KEY", "INVALID_API_KEY"),
    403: ("FORBIDDEN",),
}


_UNAVAILABLE: dict[int, tuple[ErrorCode, ...]] = {503: ("SERVICE_UNAVAILABLE",)}
_HISTORY: dict[int, tuple[ErrorCode, ...]] = {503: ("HISTORY_UNAVAILABLE",)}
_ASKED: dict[int, tuple[ErrorCode, ...]] = {  # of the device's owner, who asks WhatsApp
    400: ("VALIDATION_ERROR", "INVALID_JSON", "INVALID_RECIPIENT"),
    409: ("DEVICE_NOT_CONNECTED",),
    422: ("REQUEST_REFUSED",),
    429: ("TOO_MANY_REQUESTS",),
    501: ("NOT_SUPPORTED",),
    503: ("SERVICE_UNAVAILABLE", "SESSION_UNOWNED"),
    504: ("NO_ANSWER",),
}
_CHANGED: dict[int, tuple[ErrorCode, ...]] = {**_ASKED, 504: ("OUTCOME_UNKNOWN",)}
_OF_GROUP: dict[int, tuple[ErrorCode, ...]] = {404: ("DEVICE_NOT_FOUND", "GROUP_NOT_FOUND")}
_PICTURE: dict[int, tuple[ErrorCode, ...]] = {
    400: ("VALIDATION_ERROR", "INVALID_JSON", "INVALID_RECIPIENT", "URL_NOT_ALLOWED", "MEDIA_FETCH_FAILED"),
    413: ("PAYLOAD_TOO_LARGE", "MEDIA_TOO_LARGE"),
    415: ("UNSUPPORTED_MEDIA_TYPE",),
}
_CHANGEABLE: dict[int, tuple[ErrorCode, ...]] = {
    409: ("MESSAGE_NOT_CHANGEABLE", "IDEMPOTENCY_CONFLICT"),
    429: ("RATE_LIMIT_EXCEEDED", "BACKLOG_FULL"),
    503: ("SERVICE_UNAVAILABLE", "HISTORY_UNAVAILABLE"),
}
_EXPORT: dict[int, tuple[ErrorCode, ...]] = {
    400: ("VALIDATION_ERROR",),
    404: ("DEVICE_NOT_FOUND",),
    409: ("LIMIT_REACHED",),
    503: ("SERVICE_UNAVAILABLE", "HISTORY_UNAVAILABLE"),
}
_SAVED: dict[int, tuple[ErrorCode, ...]] = {
    400: ("VALIDATION_ERROR", "INVALID_JSON", "INVALID_RECIPIENT"),
    404: ("NOT_FOUND",),
    **_UNAVAILABLE,
}
_ERRORS_OF: dict[str, dict[int, tuple[ErrorCode, ...]]] = {
    "listGroups": _ASKED,
    "createGroup": {**_CHANGED, 409: ("DEVICE_NOT_CONNECTED", "IDEMPOTENCY_CONFLICT")},
    "joinGroup": _CHANGED,
    "showGroup": {**_ASKED, **_OF_GROUP},
    "leaveGroup": {**_CHANGED, **_OF_GROUP},
    "changeMembers": {**_CHANGED, **_OF_GROUP},
    "showInviteLink": {**_ASKED, **_OF_GROUP},
    "renewInviteLink": {**_CHANGED, **_OF_GROUP},
    "setGroupSubject": {**_CHANGED, **_OF_GROUP},
    "setGroupDescription": {**_CHANGED, **_OF_GROUP},
    "setGroupPicture": {**_CHANGED, **_OF_GROUP, **_PICTURE},
    "showInvitation": _ASKED,
    "listContacts": _ASKED,
    "checkNumbers": _ASKED,
    "showPicture": {**_ASKED, 404: ("DEVICE_NOT_FOUND", "PICTURE_NOT_FOUND")},
    "showAbout": _ASKED,
    "listBlocked": _ASKED,
    "blockPerson": _CHANGED,
    "unblockPerson": _CHANGED,
    "changeProfile": _CHANGED,
    "setProfilePicture": {**_CHANGED, **_PICTURE},
    "removeProfilePicture": _CHANGED,
    "showPrivacy": _ASKED,
    "changePrivacy": _CHANGED,
    "showPresence": _ASKED,
    "showTyping": _ASKED,
    "watchPresence": _ASKED,
    "markRead": _ASKED,
    "archiveChat": _CHANGED,
    "markUnread": _CHANGED,
    "listLabels": _ASKED,
    "labelChat": _CHANGED,
    "unlabelChat": _CHANGED,
    "saveContact": {**_SAVED, 409: ("LIMIT_REACHED",)},
    "listSavedContacts": {404: ("NOT_FOUND",)},
    "changeSavedContact": {**_SAVED, 409: ("CONFLICT",)},
    "deleteSavedContact": {404: ("NOT_FOUND",), **_UNAVAILABLE},
    "createContactGroup": {409: ("LIMIT_REACHED",), **_UNAVAILABLE},
    "renameContactGroup": {404: ("NOT_FOUND",), 409: ("CONFLICT",), **_UNAVAILABLE},
    "deleteContactGroup": {404: ("NOT_FOUND",), **_UNAVAILABLE},
    "rotateKey": _UNAVAILABLE,
    "createOwnKey": {404: ("DEVICE_NOT_FOUND",), **_UNAVAILABLE},
    "revokeOwnKey": _UNAVAILABLE,
    "createProject": {409: ("LIMIT_REACHED",), **_UNAVAILABLE},
    "changeProject": {404: ("NOT_FOUND",), 409: ("CONFLICT",), **_UNAVAILABLE},
    "deleteProject": {404: ("NOT_FOUND",), **_UNAVAILABLE},
    "createEmbedToken": {404: ("DEVICE_NOT_FOUND",)},
    "createDevice": {409: ("LIMIT_REACHED",), **_UNAVAILABLE},
    "changeDevice": {409: ("CONFLICT",), **_UNAVAILABLE},
    "deleteDevice": _UNAVAILABLE,
    "connectDevice": {409: ("CONFLICT",), **_UNAVAILABLE},
    "disconnectDevice": {409: ("CONFLICT",), **_UNAVAILABLE},
    "logoutDevice": {429: ("BACKLOG_FULL",), **_UNAVAILABLE},
    "scanSandboxDevice": {
        409: ("DEVICE_NOT_SANDBOX", "DEVICE_NOT_PAIRING"),
        503: ("SESSION_UNOWNED",),
        504: ("OUTCOME_UNKNOWN",),
    },
    "streamDeviceEvents": {409: ("LIMIT_REACHED",)},
    "streamEvents": {400: ("VALIDATION_ERROR",), 404: ("DEVICE_NOT_FOUND",), 409: ("LIMIT_REACHED",), **_UNAVAILABLE},
    "exportEvents": _EXPORT,
    "exportAttempts": {**_EXPORT, 404: ("DEVICE_NOT_FOUND", "WEBHOOK_NOT_FOUND")},
    "listMessages": _HISTORY,
    "showMessage": _HISTORY,
    "tellStory": _HISTORY,
    "cancelMessage": {409: ("CONFLICT",), 503: ("SERVICE_UNAVAILABLE", "HISTORY_UNAVAILABLE")},
    "editMessage": {**_CHANGEABLE, 409: ("MESSAGE_NOT_SENT", "MESSAGE_TOO_OLD", *_CHANGEABLE[409])},
    "revokeMessage": {**_CHANGEABLE, 409: ("MESSAGE_NOT_SENT", *_CHANGEABLE[409])},
    "downloadMedia": _UNAVAILABLE,
    "createWebhook": {400: ("VALIDATION_ERROR", "URL_NOT_ALLOWED"), 409: ("LIMIT_REACHED",), **_UNAVAILABLE},
    "changeWebhook": {400: ("VALIDATION_ERROR", "URL_NOT_ALLOWED"), 409: ("CONFLICT",), **_UNAVAILABLE},
    "deleteWebhook": _UNAVAILABLE,
    "rotateWebhookSecret": {409: ("CONFLICT",), **_UNAVAILABLE},
    "replayWebhook": {400: ("VALIDATION_ERROR",), 409: ("LIMIT_REACHED",), **_UNAVAILABLE},
    "sendWebhookTest": {400: ("VALIDATION_ERROR",), 429: ("TOO_MANY_REQUESTS",), **_UNAVAILABLE, 504: ("NO_ANSWER",)},
    "replayDelivery": {404: ("NOT_FOUND",), 409: ("LIMIT_REACHED",), **_UNAVAILABLE},
    "replayEvent": {404: ("NOT_FOUND",), 409: ("LIMIT_REACHED",), 503: ("SERVICE_UNAVAILABLE", "HISTORY_UNAVAILABLE")},
    "listWebhookReplays": _UNAVAILABLE,
    "showWebhookReplay": {404: ("WEBHOOK_NOT_FOUND", "NOT_FOUND"), **_UNAVAILABLE},
    "cancelWebhookReplay": {404: ("WEBHOOK_NOT_FOUND", "NOT_FOUND"), **_UNAVAILABLE},
    "listWebhookAttempts": {400: ("VALIDATION_ERROR",), **_HISTORY},
    "createTenant": _UNAVAILABLE,
    "changeTenant": {409: ("CONFLICT",), **_UNAVAILABLE},
    "deleteTenant": _UNAVAILABLE,
    "createKey": _UNAVAILABLE,
    "revokeKey": _UNAVAILABLE,
    "cordonNode": _UNAVAILABLE,
    "drainNode": {409: ("CONFLICT",), **_UNAVAILABLE},
    "uncordonNode": _UNAVAILABLE,
}


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
    told = {**_COMMON_ERRORS}
    if operation.get("requestBody") or "400" in responses:
        told[400] = ERRORS_OF_SENDING[400] if path in SENDS else ("VALIDATION_ERROR", "INVALID_JSON")
    if "{" in path:
        told[404] = _not_found(path)
    told |= _ERRORS_OF.get(operation["operationId"], {})
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
