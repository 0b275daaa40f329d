"""Which request each `/message/…` is, by the last part of its path. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from kurir.dialects.evolution import errors, file_requests, list_requests, requests, status_requests
from kurir.dialects.evolution.errors import Refused
from kurir.dialects.evolution.requests import Send

SENDS: Final[dict[str, Callable[[Mapping[str, Any]], Send]]] = {
    "sendText": requests.send_text,
    "sendLocation": requests.send_location,
    "sendContact": requests.send_contact,
    "sendReaction": requests.send_reaction,
    "sendPoll": requests.send_poll,
    "sendList": list_requests.send_list,
}
"""Sends without a file."""

FILE_SENDS: Final = {
    "sendMedia": file_requests.send_media,
    "sendWhatsAppAudio": file_requests.send_audio,
    "sendPtv": file_requests.send_video_note,
    "sendSticker": file_requests.send_sticker,
    "sendStatus": status_requests.send_status,
}
"""Sends whose file may come in a form too."""

NOT_SENT: Final[dict[str, Refused]] = {
    "sendButtons": Refused(errors.NO_BUTTONS),
    "sendTemplate": Refused(errors.NO_TEMPLATES),
    "sendCarousel": errors.lacking("carousel messages"),
}
