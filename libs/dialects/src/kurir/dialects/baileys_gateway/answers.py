"""What this API answers when all is well, built of facts. Pure.

Times of messages are `YYYY-MM-DD HH:MM:SS` as the tenant's clock shows them. Where the original tells of its own
folders and runtime, constants stand: there is nothing to see of ours.
"""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from msgspec import Struct

from kurir.dialects.baileys_gateway.errors import WINDOW_S, iso
from kurir.dialects.baileys_gateway.files import FILE_TYPES, FileType
from kurir.dialects.orders import Order

SERVICE = "WhatsApp Gateway Production"
VERSION = "2.0.0"
NODE_VERSION = "v20.11.0"
UPLOAD_FOLDER = "./uploads"
SESSION_FOLDER = "./session"
MAX_ATTEMPTS = 5

_SUPPORTED = {files.plural: list(files.extensions) for files in FILE_TYPES}
_ENDPOINTS = [
    "POST /api/send-message - Send text message",
    "POST /api/send-image - Send image with caption",
    "POST /api/send-document - Send document with caption",
    "POST /api/send-audio - Send audio file",
    "POST /api/send-video - Send video with caption",
    "POST /api/send-sticker - Send WebP sticker",
    "GET /api/status - Bot status",
    "GET /api/health - Health check",
]


class Bot(Struct, frozen=True, kw_only=True):
    """The device that stands behind the API, and the process that answers.

    `attempts` counts tries to connect since it was last connected; `limit` is requests per hour and IP address, 0 for
    no limit; `uptime_s` is the process's, memory in MB.
    """

    connected: bool
    attempts: int
    environment: str
    has_webhooks: bool
    needs_key: bool
    limit: int
    uptime_s: float
    memory_used_mb: int
    memory_total_mb: int
    platform: str


def service_document(bot: Bot) -> dict[str, Any]:
    """`GET /`."""
    return {
        "service": SERVICE,
        "status": "running",
        "bot_connected": bot.connected,
        "version": VERSION,
        "environment": bot.environment,
        "features": {
            "text_messages": "✅ Working",
            "image_messages": "✅ Working",
            "document_messages": "✅ Working",
            "audio_messages": "✅ Available",
            "video_messages": "✅ Available",
            "sticker_messages": "✅ Available",
            "webhooks": _switch(bot.has_webhooks),
            "analytics": _switch(True),
            "rate_limiting": _switch(bot.limit > 0),
            "api_auth": _switch(bot.needs_key),
        },
        "supported_formats": _SUPPORTED,
        "file_size_limits": {files.plural: f"{files.max_mib}MB" for files in FILE_TYPES},
        "endpoints": _ENDPOINTS,
        "limits": {"max_requests": bot.limit, "time_window": f"{WINDOW_S}s"},
        "uptime": round(bot.uptime_s, 2),
        "memory": {"used": bot.memory_used_mb, "total": bot.memory_total_mb},
    }


def status(bot: Bot) -> dict[str, Any]:
    """`GET /api/status`."""
    return {
        "bot_connected": bot.connected,
        "connection_attempts": bot.attempts,
        "max_attempts": MAX_ATTEMPTS,
        "thread_alive": True,
        "upload_folder": UPLOAD_FOLDER,
        "session_folder": SESSION_FOLDER,
        "environment": bot.environment,
        "features": {
            "webhooks": bot.has_webhooks,
            "analytics": True,
            "rate_limiting": bot.limit > 0,
            "api_authentication": bot.needs_key,
        },
        "supported_formats": _SUPPORTED,
        "system": {
            "uptime": round(bot.uptime_s, 2),
            "memory_usage_mb": bot.memory_used_mb,
            "node_version": NODE_VERSION,
            "platform": bot.platform,
        },
        "message": "Bot status retrieved",
    }


def health(bot: Bot, at: datetime) -> dict[str, Any]:
    """`GET /api/health`."""
    return {
        "status": "ok",
        "timestamp": iso(at),
        "uptime": round(bot.uptime_s, 2),
        "environment": bot.environment,
        "services": {"whatsapp_bot": "connected" if bot.connected else "disconnected", "api_server": "running"},
    }


def qr_code(qr: str) -> dict[str, Any]:
    """`GET /api/qr` while a code is to be scanned; `qr` is what the code says, to be drawn by the client."""
    return {"status": "success", "qr": qr, "message": "QR code available for scanning"}


def no_qr_needed() -> dict[str, Any]:
    return {"status": "success", "message": "Bot already connected, no QR needed"}


def text_sent(fields: Mapping[str, object], at: datetime, zone: tzinfo, *, queued: bool) -> dict[str, Any]:
    """`POST /api/send-message`; `fields` are the request's. `queued` tells that there is no word of WhatsApp yet."""
    data = {"phone": fields["phone"], "message": fields["message"], "type": "text", "timestamp": _local(at, zone)}
    return _sent("Text", data, queued)


def file_sent(
    files: FileType, order: Order, fields: Mapping[str, object], size: int, at: datetime, zone: tzinfo, *, queued: bool
) -> dict[str, Any]:
    """`POST /api/send-image` and its like; `size` in bytes."""
    assert order.file is not None
    data: dict[str, Any] = {"phone": fields["phone"], "filename": order.file.file_name}
    if files.has_caption:
        data["caption"] = order.file.caption or ""
    data |= {"type": files.kind, "file_size_kb": round(size / 1024, 2), "timestamp": _local(at, zone)}
    return _sent(files.kind.capitalize(), data, queued)


def _sent(what: str, data: dict[str, Any], queued: bool) -> dict[str, Any]:
    message = "Text message" if what == "Text" else what
    if queued:
        data["status"] = "queued"
    return {"status": "success", "message": f"{message} sent successfully", "data": data}


def _switch(on: bool) -> str:
    return "✅ Enabled" if on else "❌ Disabled"


def _local(at: datetime, zone: tzinfo) -> str:
    return at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
