"""Writes the documents that are made from the code: AsyncAPI from the contracts, OpenAPI from the api.

`python -m docs.generate` writes them, `--check` fails when one differs from what the code says.
"""

import sys
from pathlib import Path

import yaml

from kurir.api.documents.openapi import document_bytes as openapi_bytes
from kurir.contracts.asyncapi import document as asyncapi_document

HERE = Path(__file__).parent
VERSION = "0.1.0"


def generated() -> dict[Path, str]:
    """Each generated file and its text."""
    return {
        HERE / "asyncapi.yaml": yaml.safe_dump(
            asyncapi_document(VERSION), sort_keys=False, allow_unicode=True, width=110
        ),
        HERE / "openapi.json": openapi_bytes().decode(),
    }


def main() -> None:
    stale = [path for path, text in generated().items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        if stale:
            sys.exit(f"Run 'make docs': {', '.join(path.name for path in stale)} no longer says what the code says.")
        return
    for path, text in generated().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
