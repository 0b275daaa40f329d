"""Error codes, their HTTP status and one sentence each that a customer can act on."""

from typing import Literal, NamedTuple

ErrorCode = Literal[
    "VALIDATION_ERROR",
    "INVALID_JSON",
    "INVALID_RECIPIENT",
    "INVALID_API_KEY",
    "MISSING_API_KEY",
    "FORBIDDEN",
    "NOT_FOUND",
    "DEVICE_NOT_FOUND",
    "MESSAGE_NOT_FOUND",
    "WEBHOOK_NOT_FOUND",
    "TENANT_NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "DEVICE_NOT_CONNECTED",
    "DEVICE_NOT_SANDBOX",
    "DEVICE_NOT_PAIRING",
    "CONFLICT",
    "IDEMPOTENCY_CONFLICT",
    "MEDIA_TOO_LARGE",
    "PAYLOAD_TOO_LARGE",
    "UNSUPPORTED_MEDIA_TYPE",
    "MEDIA_FETCH_FAILED",
    "URL_NOT_ALLOWED",
    "RATE_LIMIT_EXCEEDED",
    "BACKLOG_FULL",
    "LIMIT_REACHED",
    "NOT_SUPPORTED",
    "SERVICE_UNAVAILABLE",
    "HISTORY_UNAVAILABLE",
    "SESSION_UNOWNED",
    "INTERNAL_ERROR",
]


class ErrorKind(NamedTuple):
    status: int
    sentence: str


ERRORS: dict[ErrorCode, ErrorKind] = {
    "VALIDATION_ERROR": ErrorKind(400, "A field of the request is missing or wrong; the message names it."),
    "INVALID_JSON": ErrorKind(400, "The body is not valid JSON."),
    "INVALID_RECIPIENT": ErrorKind(400, "The recipient must be a phone number with country code or a group id."),
    "INVALID_API_KEY": ErrorKind(401, "This API key does not exist or was rotated."),
    "MISSING_API_KEY": ErrorKind(401, "Send your API key in the header X-API-Key."),
    "FORBIDDEN": ErrorKind(403, "This key may not do that."),
    "NOT_FOUND": ErrorKind(404, "There is nothing at this path."),
    "DEVICE_NOT_FOUND": ErrorKind(404, "There is no such device."),
    "MESSAGE_NOT_FOUND": ErrorKind(404, "There is no such message."),
    "WEBHOOK_NOT_FOUND": ErrorKind(404, "There is no such webhook."),
    "TENANT_NOT_FOUND": ErrorKind(404, "There is no such tenant."),
    "METHOD_NOT_ALLOWED": ErrorKind(405, "This path does not know this method."),
    "DEVICE_NOT_CONNECTED": ErrorKind(409, "The device is not connected; connect it first."),
    "DEVICE_NOT_SANDBOX": ErrorKind(409, "Only sandbox devices can be paired by the API."),
    "DEVICE_NOT_PAIRING": ErrorKind(409, "The device shows no QR code at the moment; connect it first."),
    "CONFLICT": ErrorKind(409, "Something else changed this at the same moment; read it again and retry."),
    "IDEMPOTENCY_CONFLICT": ErrorKind(409, "This idempotency key was used with another body."),
    "MEDIA_TOO_LARGE": ErrorKind(413, "The media is larger than its kind allows."),
    "PAYLOAD_TOO_LARGE": ErrorKind(413, "The request is larger than allowed."),
    "UNSUPPORTED_MEDIA_TYPE": ErrorKind(415, "This kind of file cannot be sent that way."),
    "MEDIA_FETCH_FAILED": ErrorKind(400, "The media could not be fetched from its URL."),
    "URL_NOT_ALLOWED": ErrorKind(400, "This URL leads to an address that is not public, or is not https."),
    "RATE_LIMIT_EXCEEDED": ErrorKind(429, "Too many messages for this device; wait as Retry-After says."),
    "BACKLOG_FULL": ErrorKind(429, "Too many messages wait for this device; wait as Retry-After says."),
    "LIMIT_REACHED": ErrorKind(409, "The tenant has as many of these as its plan allows."),
    "NOT_SUPPORTED": ErrorKind(501, "The device's engine cannot do that."),
    "SERVICE_UNAVAILABLE": ErrorKind(503, "The message bus cannot be reached; nothing was accepted. Try again."),
    "HISTORY_UNAVAILABLE": ErrorKind(503, "The history cannot be read at the moment; sending goes on. Try again."),
    "SESSION_UNOWNED": ErrorKind(503, "No node holds this device at the moment; try again in a few seconds."),
    "INTERNAL_ERROR": ErrorKind(500, "Something went wrong on our side; the request id helps us to find it."),
}
