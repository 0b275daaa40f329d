"""The documents describe the routes that there are, and the copy in the repository is the one that is served."""

import json
import re
from pathlib import Path
from typing import Any

from kurir.api.documents import llms, openapi
from kurir.contracts.errors import ERRORS

COPY = Path(__file__).parents[2] / "docs" / "openapi.json"
METHODS = {"get", "post", "put", "patch", "delete"}


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(_references(one) for one in value.values()))
    if isinstance(value, list):
        return set().union(*(_references(one) for one in value))
    return set()


def test_the_copy_in_docs_is_what_is_served() -> None:
    assert COPY.read_bytes() == openapi.document_bytes(), "make docs writes it anew"


def test_the_document_is_openapi_3_1_with_every_reference_resolved() -> None:
    document = openapi.document()
    assert document["openapi"].startswith("3.1")
    assert {reference.rpartition("/")[2] for reference in _references(document)} <= set(
        document["components"]["schemas"]
    )


def test_every_operation_has_an_id_of_its_own_a_summary_and_the_errors_of_a_key() -> None:
    seen = set()
    for path, item in openapi.document()["paths"].items():
        assert set(item) <= METHODS
        for operation in item.values():
            assert operation["operationId"] not in seen
            seen.add(operation["operationId"])
            assert operation["summary"], path
            assert {"401", "403"} <= set(operation["responses"]), path
            in_path = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "path"}
            assert in_path == set(re.findall(r"{(\w+)}", path))


def test_sending_is_documented_with_its_body_its_headers_and_its_errors() -> None:
    operation = openapi.document()["paths"]["/messages/send-text"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    fields = openapi.document()["components"]["schemas"][body.rpartition("/")[2]]
    assert {"deviceId", "to", "text", "sendAt", "priority", "expiresIn"} <= set(fields["properties"])
    assert set(fields["required"]) == {"deviceId", "to", "text"}
    assert "X-RateLimit-Remaining" in operation["responses"]["200"]["headers"]
    assert "Retry-After" in operation["responses"]["429"]["headers"]


def test_what_is_asked_of_a_device_tells_what_may_keep_it_from_answering() -> None:
    of_devices = {"Groups", "Contacts", "Profile", "Chats"}
    for path, item in openapi.document()["paths"].items():
        for operation in item.values():
            if of_devices.intersection(operation["tags"]):
                assert {"409", "422", "429", "501", "503", "504"} <= set(operation["responses"]), path


def test_texts_for_language_models_name_every_path_and_every_error() -> None:
    for path, item in openapi.document()["paths"].items():
        for method in item:
            assert f"{method.upper()} {path}:" in llms.index()
            assert f"### {method.upper()} {path}\n" in llms.full()
    assert all(code in llms.full() for code in ERRORS)
    assert "`deviceId` (string, required)" in llms.full()


def test_the_document_is_plain_json() -> None:
    assert json.loads(openapi.document_bytes()) == openapi.document()
