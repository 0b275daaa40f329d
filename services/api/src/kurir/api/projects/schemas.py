"""Projects as callers see them."""

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from kurir.contracts.records import ApiKey

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Origin = Annotated[
    str,
    Meta(
        pattern=r"^https?://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?$",
        max_length=255,
        examples=["https://app.example.com"],
    ),
]
Origins = Annotated[tuple[Origin, ...], Meta(max_length=50)]


class NewProject(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`allowedOrigins` are the web sites that may show a device's QR code in a frame: `https://app.example.com`."""

    name: Name
    allowed_origins: Origins = ()


class ProjectChange(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is absent stays."""

    name: Name | UnsetType = UNSET
    allowed_origins: Origins | UnsetType = UNSET


class ProjectView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A project. Its `token`, which is an API key, is there once, in the answer that made it; `hint` is its end."""

    id: str
    name: str
    allowed_origins: tuple[str, ...]
    hint: str
    created_at: datetime
    token: str | UnsetType = UNSET


def view_of(key: ApiKey, token: str | None = None) -> ProjectView:
    return ProjectView(
        id=key.id,
        name=key.name,
        allowed_origins=key.allowed_origins or (),
        hint=key.hint,
        created_at=key.created_at,
        token=token if token is not None else UNSET,
    )
