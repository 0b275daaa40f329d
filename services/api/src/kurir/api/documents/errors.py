"""Which errors the document tells of each operation, beside those that every path may answer."""

from kurir.contracts.errors import ErrorCode

Errors = dict[int, tuple[ErrorCode, ...]]
"""Codes by their HTTP status."""

ERRORS_OF_SENDING: Errors = {
    400: ("VALIDATION_ERROR", "INVALID_JSON", "INVALID_RECIPIENT", "URL_NOT_ALLOWED", "MEDIA_FETCH_FAILED"),
    404: ("DEVICE_NOT_FOUND",),
    409: ("IDEMPOTENCY_CONFLICT",),
    413: ("PAYLOAD_TOO_LARGE", "MEDIA_TOO_LARGE"),
    415: ("UNSUPPORTED_MEDIA_TYPE",),
    429: ("RATE_LIMIT_EXCEEDED", "BACKLOG_FULL"),
    503: ("SERVICE_UNAVAILABLE",),
}
COMMON_ERRORS: Errors = {
    401: ("MISSING_API_KEY", "INVALID_API_KEY"),
    403: ("FORBIDDEN",),
}

_UNAVAILABLE: Errors = {503: ("SERVICE_UNAVAILABLE",)}
_HISTORY: Errors = {503: ("HISTORY_UNAVAILABLE",)}
_ASKED: Errors = {  # of the device's owner, who asks WhatsApp
    400: ("VALIDATION_ERROR", "INVALID_JSON", "INVALID_RECIPIENT"),
    409: ("DEVICE_NOT_CONNECTED",),
    422: ("REQUEST_REFUSED",),
    429: ("TOO_MANY_REQUESTS",),
    501: ("NOT_SUPPORTED",),
    503: ("SERVICE_UNAVAILABLE", "SESSION_UNOWNED"),
    504: ("NO_ANSWER",),
}
_CHANGED: Errors = {**_ASKED, 504: ("OUTCOME_UNKNOWN",)}
_OF_GROUP: Errors = {404: ("DEVICE_NOT_FOUND", "GROUP_NOT_FOUND")}
_PICTURE: Errors = {
    400: ("VALIDATION_ERROR", "INVALID_JSON", "INVALID_RECIPIENT", "URL_NOT_ALLOWED", "MEDIA_FETCH_FAILED"),
    413: ("PAYLOAD_TOO_LARGE", "MEDIA_TOO_LARGE"),
    415: ("UNSUPPORTED_MEDIA_TYPE",),
}
_CHANGEABLE: Errors = {
    409: ("MESSAGE_NOT_CHANGEABLE", "IDEMPOTENCY_CONFLICT"),
    429: ("RATE_LIMIT_EXCEEDED", "BACKLOG_FULL"),
    503: ("SERVICE_UNAVAILABLE", "HISTORY_UNAVAILABLE"),
}
_EXPORT: Errors = {
    400: ("VALIDATION_ERROR",),
    404: ("DEVICE_NOT_FOUND",),
    409: ("LIMIT_REACHED",),
    503: ("SERVICE_UNAVAILABLE", "HISTORY_UNAVAILABLE"),
}
_SAVED: Errors = {
    400: ("VALIDATION_ERROR", "INVALID_JSON", "INVALID_RECIPIENT"),
    404: ("NOT_FOUND",),
    **_UNAVAILABLE,
}
ERRORS_OF: dict[str, Errors] = {
    "listGroups": _ASKED,
    "createGroup": {**_CHANGED, 409: ("DEVICE_NOT_CONNECTED", "IDEMPOTENCY_CONFLICT")},
    "joinGroup": _CHANGED,
    "showGroup": {**_ASKED, **_OF_GROUP},
    "leaveGroup": {**_CHANGED, **_OF_GROUP},
    "changeMembers": {**_CHANGED, **_OF_GROUP},
    "showInviteLink": {**_ASKED, **_OF_GROUP},
    "renewInviteLink": {**_CHANGED, **_OF_GROUP},
    "setGroupSubject": {**_CHANGED, **_OF_GROUP},
    "setGroupDescription": {**_CHANGED, **_OF_GROUP},
    "setGroupRights": {**_CHANGED, **_OF_GROUP},
    "setDisappearing": {**_CHANGED, **_OF_GROUP},
    "setGroupPicture": {**_CHANGED, **_OF_GROUP, **_PICTURE},
    "showInvitation": _ASKED,
    "listContacts": _ASKED,
    "checkNumbers": _ASKED,
    "showPicture": {**_ASKED, 404: ("DEVICE_NOT_FOUND", "PICTURE_NOT_FOUND")},
    "showAbout": _ASKED,
    "listBlocked": _ASKED,
    "blockPerson": _CHANGED,
    "unblockPerson": _CHANGED,
    "changeProfile": _CHANGED,
    "setProfilePicture": {**_CHANGED, **_PICTURE},
    "removeProfilePicture": _CHANGED,
    "showPrivacy": _ASKED,
    "changePrivacy": _CHANGED,
    "showPresence": _ASKED,
    "showTyping": _ASKED,
    "watchPresence": _ASKED,
    "markRead": _ASKED,
    "archiveChat": _CHANGED,
    "markUnread": _CHANGED,
    "listLabels": _ASKED,
    "labelChat": _CHANGED,
    "unlabelChat": _CHANGED,
    "saveContact": {**_SAVED, 409: ("LIMIT_REACHED",)},
    "listSavedContacts": {404: ("NOT_FOUND",)},
    "changeSavedContact": {**_SAVED, 409: ("CONFLICT",)},
    "deleteSavedContact": {404: ("NOT_FOUND",), **_UNAVAILABLE},
    "createContactGroup": {409: ("LIMIT_REACHED",), **_UNAVAILABLE},
    "renameContactGroup": {404: ("NOT_FOUND",), 409: ("CONFLICT",), **_UNAVAILABLE},
    "deleteContactGroup": {404: ("NOT_FOUND",), **_UNAVAILABLE},
    "rotateKey": _UNAVAILABLE,
    "createOwnKey": {404: ("DEVICE_NOT_FOUND",), **_UNAVAILABLE},
    "revokeOwnKey": _UNAVAILABLE,
    "createProject": {409: ("LIMIT_REACHED",), **_UNAVAILABLE},
    "changeProject": {404: ("NOT_FOUND",), 409: ("CONFLICT",), **_UNAVAILABLE},
    "deleteProject": {404: ("NOT_FOUND",), **_UNAVAILABLE},
    "createEmbedToken": {404: ("DEVICE_NOT_FOUND",)},
    "createDevice": {409: ("LIMIT_REACHED",), **_UNAVAILABLE},
    "changeDevice": {409: ("CONFLICT",), **_UNAVAILABLE},
    "deleteDevice": _UNAVAILABLE,
    "connectDevice": {409: ("CONFLICT",), **_UNAVAILABLE},
    "disconnectDevice": {409: ("CONFLICT",), **_UNAVAILABLE},
    "logoutDevice": {429: ("BACKLOG_FULL",), **_UNAVAILABLE},
    "scanSandboxDevice": {
        409: ("DEVICE_NOT_SANDBOX", "DEVICE_NOT_PAIRING"),
        503: ("SESSION_UNOWNED",),
        504: ("OUTCOME_UNKNOWN",),
    },
    "streamDeviceEvents": {409: ("LIMIT_REACHED",)},
    "streamEvents": {400: ("VALIDATION_ERROR",), 404: ("DEVICE_NOT_FOUND",), 409: ("LIMIT_REACHED",), **_UNAVAILABLE},
    "exportEvents": _EXPORT,
    "exportAttempts": {**_EXPORT, 404: ("DEVICE_NOT_FOUND", "WEBHOOK_NOT_FOUND")},
    "listMessages": _HISTORY,
    "showMessage": _HISTORY,
    "tellStory": _HISTORY,
    "cancelMessage": {409: ("CONFLICT",), 503: ("SERVICE_UNAVAILABLE", "HISTORY_UNAVAILABLE")},
    "editMessage": {**_CHANGEABLE, 409: ("MESSAGE_NOT_SENT", "MESSAGE_TOO_OLD", *_CHANGEABLE[409])},
    "revokeMessage": {**_CHANGEABLE, 409: ("MESSAGE_NOT_SENT", *_CHANGEABLE[409])},
    "downloadMedia": _UNAVAILABLE,
    "createWebhook": {400: ("VALIDATION_ERROR", "URL_NOT_ALLOWED"), 409: ("LIMIT_REACHED",), **_UNAVAILABLE},
    "changeWebhook": {400: ("VALIDATION_ERROR", "URL_NOT_ALLOWED"), 409: ("CONFLICT",), **_UNAVAILABLE},
    "deleteWebhook": _UNAVAILABLE,
    "rotateWebhookSecret": {409: ("CONFLICT",), **_UNAVAILABLE},
    "replayWebhook": {400: ("VALIDATION_ERROR",), 409: ("LIMIT_REACHED",), **_UNAVAILABLE},
    "sendWebhookTest": {400: ("VALIDATION_ERROR",), 429: ("TOO_MANY_REQUESTS",), **_UNAVAILABLE, 504: ("NO_ANSWER",)},
    "replayDelivery": {404: ("NOT_FOUND",), 409: ("LIMIT_REACHED",), **_UNAVAILABLE},
    "replayEvent": {404: ("NOT_FOUND",), 409: ("LIMIT_REACHED",), 503: ("SERVICE_UNAVAILABLE", "HISTORY_UNAVAILABLE")},
    "listWebhookReplays": _UNAVAILABLE,
    "showWebhookReplay": {404: ("WEBHOOK_NOT_FOUND", "NOT_FOUND"), **_UNAVAILABLE},
    "cancelWebhookReplay": {404: ("WEBHOOK_NOT_FOUND", "NOT_FOUND"), **_UNAVAILABLE},
    "listWebhookAttempts": {400: ("VALIDATION_ERROR",), **_HISTORY},
    "createTenant": _UNAVAILABLE,
    "changeTenant": {409: ("CONFLICT",), **_UNAVAILABLE},
    "deleteTenant": _UNAVAILABLE,
    "createKey": _UNAVAILABLE,
    "revokeKey": _UNAVAILABLE,
    "cordonNode": _UNAVAILABLE,
    "drainNode": {409: ("CONFLICT",), **_UNAVAILABLE},
    "uncordonNode": _UNAVAILABLE,
}
