"""Websockets as uvicorn speaks them, with one mend: a refused handshake is an answer, not an error in its log."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

OPTIONS: dict[str, Any] = {
    "ws_max_size": 65_536,  # followers have nothing to say
    "ws_per_message_deflate": False,  # more computing than the bytes are worth
    "ws_ping_interval": 30.0,  # finds out who is gone without a word
    "ws_ping_timeout": 60.0,  # longer than a slow reader is waited for, who deserves to be told
}


class WebsocketProtocol(WebSocketsSansIOProtocol):
    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # without it uvicorn 0.54 logs "returned without completing handshake"
