"""`POST /message/sendList`: v1's `listMessage` and v2's flat body. Pure."""

from collections.abc import Mapping
from typing import Any

from kurir.contracts.content import List, ListRow, ListSection
from kurir.dialects.evolution.fields import Fields
from kurir.dialects.evolution.requests import Send, inner, send_around


def send_list(values: Mapping[str, Any]) -> Send:
    """Raises Invalid."""
    fields = Fields(values)
    body, version = inner(fields, "listMessage")
    body.require("title", "description" if version == "v1" else "footerText", "buttonText", "sections")
    sections = tuple(_section(one) for one in body.parts("sections", least=1, most=20))
    ids = [row.id for section in sections for row in section.rows]
    if len(set(ids)) < len(ids):
        body.find("sections", "contains duplicate item")
    content = List(
        title=body.optional("title", max_length=1024),
        text=body.optional("description"),
        footer=body.optional("footerText", max_length=1024),
        button=body.text("buttonText", "?", min_length=1, max_length=255),
        sections=sections,
    )
    return send_around(fields, version, content=content)


def _section(section: Fields) -> ListSection:
    section.require("title", "rows")
    rows = tuple(_row(row) for row in section.parts("rows", least=1, most=100))
    return ListSection(title=section.text("title", min_length=1, max_length=255), rows=rows)


def _row(row: Fields) -> ListRow:
    row.require("title", "rowId")
    return ListRow(
        id=row.text("rowId", min_length=1, max_length=200),
        title=row.text("title", min_length=1, max_length=255),
        description=row.optional("description", max_length=1024),
    )
