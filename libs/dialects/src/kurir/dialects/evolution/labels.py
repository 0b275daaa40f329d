"""What clients ask and are told about labels. Pure; raises Invalid."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from kurir.contracts.people import Label
from kurir.dialects.evolution.fields import Fields
from kurir.dialects.evolution.requests import number_of

NOBODY = "Number is not on WhatsApp"


class Labeling(Struct, frozen=True, kw_only=True):
    """`number` as it was written."""

    number: str
    label: str
    labeled: bool


def labeling(values: Mapping[str, Any]) -> Labeling:
    """`PUT /label/handleLabel`."""
    fields = Fields(values)
    fields.require("labelId", "action")
    found = Labeling(
        number=number_of(fields),
        label=fields.text("labelId", min_length=1, max_length=64),
        labeled=fields.text("action", allowed=("add", "remove")) == "add",
    )
    fields.check()
    return found


def labels(found: Iterable[Label]) -> list[dict[str, Any]]:
    """The labels with which every account begins are WhatsApp's own: their ids are `predefinedId` too."""
    return [{"color": one.color, "name": one.name, "id": one.id, "predefinedId": one.id} for one in found]


def labeled(jid: str, wanted: Labeling) -> dict[str, Any]:
    return {"numberJid": jid, "labelId": wanted.label, "add" if wanted.labeled else "remove": True}
