"""What Evolution answers at `/`. Pure."""

from typing import Any, Final

VERSION: Final = "1.8.6"
"""The Evolution API whose words are spoken; clients read it to tell v1 from v2."""


def welcome(base_url: str) -> dict[str, Any]:
    """`GET /`; `base_url` is where clients reach the API, without a slash at its end."""
    return {
        "status": 200,
        "message": "Welcome to the Evolution API, it is working!",
        "version": VERSION,
        "swagger": f"{base_url}/docs",
        "manager": f"{base_url}/dashboard",
        "documentation": "https://doc.evolution-api.com",
    }
