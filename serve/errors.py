"""Every error pointsman raises on purpose.

PointsmanError
|-- SetupError               stops a start; one line, exit status 2
|   |-- SettingsError        a settings file says something it may not
|   |-- ArtifactError        a router artifact is corrupted or does not fit the settings
|   |-- WeightsError         a model's bytes are missing or not the pinned ones
|   `-- TableError           a prompt file or a routing table is malformed
`-- RequestError             answers one request; knows its HTTP status and OpenAI code
    |-- InvalidRequest       400
    |-- TooLarge             413
    |-- Unauthorized         401
    |-- Forbidden            403
    |-- UnknownModel         404
    |-- UnknownRequest       404
    |-- RepeatedFeedback     409
    |-- TooManyRequests      429: a key's limit
    |-- Overloaded           429: everybody's
    |-- NotConfigured        501
    |-- ExpertUnavailable    503
    |-- FeedbackUnavailable  503
    |-- LedgerUnavailable    503
    `-- DeadlineExceeded     504
"""


class PointsmanError(Exception):
    """Base of the tree; its text is what a user reads."""


class SetupError(PointsmanError):
    """Something a person must mend before a start can succeed."""


class SettingsError(SetupError):
    """A settings file names an unknown key, a wrong value or a missing one."""


class ArtifactError(SetupError):
    """A router artifact cannot be served."""


class WeightsError(SetupError):
    """A model reference cannot be turned into a checked local directory."""


class TableError(SetupError):
    """A prompt file or a routing table cannot be read."""


class RequestError(PointsmanError):
    """One request that cannot be answered.

    Attributes:
        status: HTTP status.
        type: OpenAI's error type.
        code: OpenAI's error code, or None.
        param: the request field at fault, or None.
        retry_after_s: seconds after which it may be tried again, or None.
        headers: what the answer carries besides.
    """

    status = 400
    type = "invalid_request_error"
    code: str | None = None
    retry_after_s: float | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.headers: dict[str, str] = {}
        if code is not None:
            self.code = code


class InvalidRequest(RequestError):
    """The request's own fault; `param` names the field."""


class TooLarge(RequestError):
    """More than the settings take."""

    status = 413
    code = "request_too_large"


class Overloaded(RequestError):
    """Too much is under way; `retry_after_s` says when to try again."""

    status = 429
    type = "rate_limit_error"
    code = "overloaded"


class DeadlineExceeded(RequestError):
    """The answer was not whole in time."""

    status = 504
    type = "server_error"
    code = "deadline_exceeded"


class Unauthorized(RequestError):
    """No API key, or one that is not known here."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class Forbidden(RequestError):
    """Known, or not asked for a key, and not allowed."""

    status = 403
    type = "permission_error"


class UnknownModel(RequestError):
    """`model` is neither auto nor an expert."""

    status = 404
    code = "model_not_found"


class UnknownRequest(RequestError):
    """Feedback for a request that was never answered here."""

    status = 404
    code = "request_not_found"


class RepeatedFeedback(RequestError):
    """Feedback for a request that has some already."""

    status = 409
    code = "feedback_exists"


class TooManyRequests(RequestError):
    """A limit of the key is used up."""

    status = 429
    code = "rate_limit_exceeded"

    def __init__(
        self, message: str, *, type: str, retry_after: float, headers: dict[str, str]
    ) -> None:
        super().__init__(message, code=type if type == "insufficient_quota" else None)
        self.type = type
        self.retry_after_s = retry_after
        self.headers = headers


class NotConfigured(RequestError):
    """The settings leave out what this endpoint needs."""

    status = 501
    code = "not_configured"


class ExpertUnavailable(RequestError):
    """The expert that was asked has no live replica or failed."""

    status = 503
    type = "server_error"
    code = "expert_unavailable"


class FeedbackUnavailable(RequestError):
    """The database of feedback does not answer."""

    status = 503
    type = "server_error"
    code = "feedback_unavailable"


class LedgerUnavailable(RequestError):
    """Usage was asked for, and the counters do not answer."""

    status = 503
    type = "server_error"
    code = "ledger_unavailable"
