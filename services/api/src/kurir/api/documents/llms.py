"""Documentation for language models, made of the OpenAPI document: a short index, and all of it in one file."""

from functools import cache
from typing import Any

from kurir.api.documents.openapi import DESCRIPTION, TITLE, document
from kurir.contracts.errors import ERRORS

_QUICKSTART = """## First message

1. `POST /devices` with `{"name": "CS"}`; the answer has the device's `id`.
2. `POST /devices/{id}/connect`, then read `GET /devices/{id}/events` (server-sent events): the event `qr` has the code
   as text and as a PNG data URL. Scan it with WhatsApp. For tests, create the device with `"engine": "sandbox"` and
   call `POST /devices/{id}/sandbox/scan` instead.
3. `POST /messages/send-text` with `{"deviceId": "…", "to": "6281234567890", "text": "Halo!"}`.
4. `GET /messages/{id}` tells how far it has come; `POST /webhooks` has you told.
"""

_RULES = """## Rules

- Header `X-API-Key` with every request. Errors are `{"error", "code", "message", "field"?}`.
- A 2xx for a message means: stored, will be sent. 429 and 503 mean: nothing was accepted; wait `Retry-After` seconds.
- `Idempotency-Key` makes a repeated send, edit, deletion or creation of a group harmless for 24 hours.
- Groups, contacts and chats are asked of a connected device. 504 `NO_ANSWER`: ask again. 504 `OUTCOME_UNKNOWN`: it may
  have been done, so look first.
- 30 messages a minute and device unless agreed otherwise: `X-RateLimit-Limit`, `-Remaining`, `-Reset` (Unix seconds).
- Webhooks are signed: `webhook-id`, `webhook-timestamp`, `webhook-signature` (Standard Webhooks) and
  `X-Webhook-Event`, `X-Webhook-Signature` (hex HMAC-SHA256 of the body), `X-Webhook-Timestamp` (milliseconds).
"""


@cache
def index() -> str:
    """`/llms.txt`: what there is, a line each, and where to read on (https://llmstxt.org)."""
    lines = [f"# {TITLE}", "", "> " + DESCRIPTION.partition("\n")[0], "", _QUICKSTART, _RULES, "## Paths", ""]
    lines += [f"- {method} {path}: {operation['summary']}" for method, path, operation in _operations()]
    lines += [
        "",
        "## More",
        "",
        "- [All of it in one file](/llms-full.txt)",
        "- [OpenAPI 3.1](/api/openapi.json)",
        "- [Try it](/api/docs)",
        "",
    ]
    return "\n".join(lines)


@cache
def full() -> str:
    """`/llms-full.txt`: every path with its fields, every error."""
    schemas = document()["components"]["schemas"]
    lines = [f"# {TITLE}", "", DESCRIPTION, "", _QUICKSTART, _RULES, "## Paths"]
    for method, path, operation in _operations():
        lines += ["", f"### {method} {path}", "", operation.get("description") or operation["summary"], ""]
        for parameter in operation.get("parameters", []):
            need = "required" if parameter.get("required") else "optional"
            lines.append(
                f"- {parameter['in']} `{parameter['name']}` ({need}) {parameter.get('description', '')}".rstrip()
            )
        for type_, body in operation.get("requestBody", {}).get("content", {}).items():
            lines += [f"- body, {type_}:", *_fields(body["schema"], schemas, "  ")]
        for status, response in operation["responses"].items():
            lines.append(f"- {status}: {response['description']}")
            if status.startswith("2"):
                for body in response.get("content", {}).values():
                    lines += _fields(body["schema"], schemas, "  ")
    lines += ["", "## Errors", ""]
    lines += [f"- {kind.status} {code}: {kind.sentence}" for code, kind in ERRORS.items()]
    return "\n".join([*lines, ""])


def _operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, item in document()["paths"].items()
        for method, operation in item.items()
    ]


def _fields(schema: dict[str, Any], schemas: dict[str, Any], indent: str) -> list[str]:
    """A line for each field of an object, of what an array holds, or of what a reference means."""
    schema = _meant(schema, schemas)
    if schema.get("type") == "array":
        return [f"{indent}- a list of", *_fields(schema.get("items", {}), schemas, indent + "  ")]
    required = set(schema.get("required", ()))
    lines = []
    for name, given in schema.get("properties", {}).items():
        need = ", required" if name in required else ""
        lines.append(f"{indent}- `{name}` ({_type_of(given, schemas)}{need})")
    return lines


def _meant(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    for one in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        if "$ref" in one:
            found: dict[str, Any] = schemas[one["$ref"].rpartition("/")[2]]
            return found
    return schema


def _type_of(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return " or ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if alternatives:
        return " or ".join(_type_of(one, schemas) for one in alternatives)
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type_of(schema.get('items', {}), schemas)}"
    return str(kind) if isinstance(kind, str) else " or ".join(kind)
