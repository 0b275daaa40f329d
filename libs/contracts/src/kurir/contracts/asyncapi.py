"""The AsyncAPI 3 document, made from the table of channels and the structs themselves."""

import re
from typing import Any, get_args

import msgspec

from kurir.contracts import errors, headers, states
from kurir.contracts.channels import CHANNELS, Channel

_REF = "#/components/schemas/{name}"


def document(version: str) -> dict[str, Any]:
    """The whole document as plain data; `version` is the product's."""
    structs: list[Any] = []
    answers: list[Any] = []
    for channel in CHANNELS:
        structs += _alternatives(channel.message) + _alternatives(channel.reply)
        answers += _alternatives(channel.answer)
    unique = list(dict.fromkeys(structs))
    _, schemas = msgspec.json.schema_components([*unique, *dict.fromkeys(answers)], ref_template=_REF)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Kurir subjects",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"nats": {"host": "localhost:4222", "protocol": "nats"}},
        "channels": {_key(channel): _channel(channel) for channel in CHANNELS},
        "operations": {
            operation["name"]: operation["body"] for channel in CHANNELS for operation in _operations(channel)
        },
        "components": {
            "schemas": schemas,
            "messages": {
                struct.__name__: {
                    "name": struct.__name__,
                    "summary": _first_line(struct),
                    "headers": _HEADERS,
                    "payload": {"$ref": _REF.format(name=struct.__name__)},
                }
                for struct in unique
            },
        },
        "x-reasons": dict(states.SENTENCES),
        "x-errors": {code: {"status": kind.status, "sentence": kind.sentence} for code, kind in errors.ERRORS.items()},
    }


_DESCRIPTION = """\
What Kurir's services say to each other over NATS, and what internal systems may subscribe to.
Events are the public surface: JSON bodies with CloudEvents attributes in the headers (ce-id, ce-type, ce-source,
ce-time, ce-subject) and W3C trace context (traceparent). New fields may appear at any time; types never change.
"""

_HEADERS = {
    "type": "object",
    "properties": {
        name: {"type": "string"}
        for name in (
            headers.CE_ID,
            headers.CE_TYPE,
            headers.CE_SOURCE,
            headers.CE_TIME,
            headers.CE_SUBJECT,
            headers.TRACEPARENT,
        )
    },
}


def _channel(channel: Channel) -> dict[str, Any]:
    body: dict[str, Any] = {
        "address": channel.subject,
        "description": channel.description,
        "messages": {
            struct.__name__: {"$ref": f"#/components/messages/{struct.__name__}"}
            for struct in _alternatives(channel.message) + _alternatives(channel.reply)
        },
        "x-producers": list(channel.producers),
        "x-consumers": list(channel.consumers),
    }
    parameters = re.findall(r"{(\w+)}", channel.subject)
    if parameters:
        body["parameters"] = {name: {"description": _PARAMETERS[name]} for name in parameters}
    if channel.answer is not None:
        body["x-answer"] = {"$ref": _REF.format(name=channel.answer.__name__)}
    if channel.stream is not None:
        body["x-stream"] = channel.stream.name
    return body


_PARAMETERS = {
    "partition": "decimal number of the partition that the device or endpoint belongs to",
    "tenant": "id of the tenant",
    "device": "id of the device",
    "endpoint": "id of the webhook endpoint",
    "delivery": "id of the delivery",
    "replay": "id of the replay",
    "message": "id of the message",
    "kind": "send-high, send, send-bulk or control",
}


def _operations(channel: Channel) -> list[dict[str, Any]]:
    ref = {"$ref": f"#/channels/{_key(channel)}"}
    sent: dict[str, Any] = {"action": "send", "channel": ref}
    if channel.reply is not None:
        sent["reply"] = {"channel": ref}
    received = {"action": "receive", "channel": ref}
    return [{"name": f"{_key(channel)}.sent", "body": sent}, {"name": f"{_key(channel)}.received", "body": received}]


def _key(channel: Channel) -> str:
    return channel.name.replace(".", "_")


def _alternatives(type_: Any) -> list[Any]:
    """The structs of a union, or the struct itself."""
    return [] if type_ is None else list(get_args(type_)) or [type_]


def _first_line(struct: Any) -> str:
    doc: str = struct.__doc__ or struct.__name__
    return doc.strip().splitlines()[0]
