"""What can go wrong between a service and its message bus, and what the caller may conclude from it."""


class PublishError(Exception):
    """A message was not confirmed. The subclass says whether it may have been stored all the same."""


class BrokerUnavailable(PublishError):
    """No connection, no JetStream or no answer in time.

    `outcome_unknown` is true when the message had been handed to the network: it may or may not be stored,
    so repeat it with the same message id. False means: it was not sent and never will be.
    """

    def __init__(self, reason: str, *, outcome_unknown: bool) -> None:
        super().__init__(reason)
        self.outcome_unknown = outcome_unknown


class PublishRefused(PublishError):
    """The server answered and did not store the message. `code` is JetStream's err_code."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{description} ({code})")
        self.code = code
        self.description = description


class BacklogFull(PublishRefused):
    """The stream, or this subject of it, holds as many messages as it may and refuses new ones (10077)."""


class WrongSequence(PublishRefused):
    """An expected last sequence did not hold: somebody else wrote first (10071)."""


class Unreachable(Exception):
    """A request found nobody listening, or no answer in time (then `outcome_unknown` is true)."""

    def __init__(self, reason: str, *, outcome_unknown: bool) -> None:
        super().__init__(reason)
        self.outcome_unknown = outcome_unknown
