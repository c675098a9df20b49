"""Every failure a client, a plugin or an operator can meet, as one tree.

    EmbedwellError
    ├── BadRequest            malformed: not JSON, bad framing
    ├── Invalid               well-formed but wrong; `param` names the field
    ├── Unauthorized, Forbidden
    ├── NotFound              a route
    │   ├── ModelNotFound     a tag no source has
    │   └── TaskNotFound
    ├── MethodNotAllowed
    ├── BodyTimeout           the request's body stalled
    ├── DeadlineExceeded      the answer came too late
    ├── Conflict              a name is taken or busy
    │   └── ReadOnly          this source cannot be changed
    ├── PayloadTooLarge
    │   ├── UrlTooLong
    │   └── HeadersTooLarge
    ├── UnsupportedMediaType
    ├── InvalidModel          a snapshot that may not be loaded, and why
    ├── ModelError            the model failed on this input
    ├── Overloaded            the queue is full
    │   └── RateLimited       a caller's quota is used up
    ├── OutOfMemory           a model or a batch that does not fit
    ├── Loading               the model is not there yet
    ├── Draining              the server is stopping
    ├── SourceError           a source failed, as opposed to not having the model
    ├── InsufficientStorage   the disk, or the store's share of it, is full
    ├── ConfigurationError    start-up: every reason at once
    └── PluginError           start-up: a plugin that cannot be used

A class knows its `code`; the HTTP layer alone knows which status that code has where.
"""

from collections.abc import Sequence
from typing import ClassVar


class EmbedwellError(Exception):
    """A failure with a message fit for the client: no path, no traceback, no internal name.

    `param` names the request field at fault. `retry_after` is in seconds; None with
    `retryable` false means that the same request cannot succeed later either. `caller` is whose
    request it was, where a guard refuses somebody it knows; the log has it, the client is not told.
    """

    code: ClassVar[str] = "INTERNAL"
    kind: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after: float | None = None,
        caller: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.caller = caller


def bare(error: EmbedwellError) -> EmbedwellError:
    """A copy without traceback, cause and context, whose frames would be kept with it.

    Unlike copy.copy it calls no constructor, which may take other arguments than the base's.
    """
    copied = type(error).__new__(type(error), *error.args)
    copied.__dict__.update(error.__dict__)
    return copied


class BadRequest(EmbedwellError):
    code = "BAD_REQUEST"
    kind = "bad_request"


class Invalid(EmbedwellError):
    code = "VALIDATION_ERROR"
    kind = "invalid_value"


class Unauthorized(EmbedwellError):
    code = "UNAUTHORIZED"
    kind = "invalid_api_key"


class Forbidden(EmbedwellError):
    code = "FORBIDDEN"
    kind = "forbidden"


class NotFound(EmbedwellError):
    code = "NOT_FOUND"
    kind = "route_not_found"


class ModelNotFound(NotFound):
    kind = "model_not_found"

    def __init__(self, tag: str, hint: str = "") -> None:
        shown = tag if len(tag) <= 200 else f"{tag[:197]}..."
        super().__init__(f"Model not found: {shown}{hint}", param="model")


class TaskNotFound(NotFound):
    kind = "task_not_found"


class MethodNotAllowed(EmbedwellError):
    """The path exists, the method does not; `allow` lists those that do."""

    code = "METHOD_NOT_ALLOWED"
    kind = "method_not_allowed"

    def __init__(self, message: str, allow: Sequence[str]) -> None:
        super().__init__(message)
        self.allow = tuple(allow)


class BodyTimeout(EmbedwellError):
    code = "TIMEOUT"
    kind = "request_timeout"
    retryable = True


class DeadlineExceeded(EmbedwellError):
    code = "TIMEOUT"
    kind = "timeout"
    retryable = True


class Conflict(EmbedwellError):
    code = "CONFLICT"
    kind = "conflict"


class ReadOnly(Conflict):
    kind = "read_only"


class PayloadTooLarge(EmbedwellError):
    code = "PAYLOAD_TOO_LARGE"
    kind = "payload_too_large"


class UrlTooLong(PayloadTooLarge):
    kind = "url_too_long"


class HeadersTooLarge(PayloadTooLarge):
    kind = "headers_too_large"


class UnsupportedMediaType(EmbedwellError):
    code = "UNSUPPORTED_MEDIA_TYPE"
    kind = "unsupported_media_type"


class InvalidModel(EmbedwellError):
    code = "INVALID_MODEL"
    kind = "invalid_model"

    def __init__(self, message: str) -> None:
        super().__init__(message, param="model")


class ModelError(EmbedwellError):
    code = "MODEL_ERROR"
    kind = "model_error"


class Overloaded(EmbedwellError):
    code = "OVERLOADED"
    kind = "overloaded"
    retryable = True


class RateLimited(Overloaded):
    code = "RATE_LIMITED"
    kind = "rate_limit_exceeded"


class OutOfMemory(EmbedwellError):
    """Memory does not suffice; with `retry_after` waiting may help, without it never will."""

    code = "MEMORY_ERROR"
    kind = "out_of_memory"


class Loading(EmbedwellError):
    code = "LOADING"
    kind = "model_loading"
    retryable = True


class Draining(EmbedwellError):
    code = "DRAINING"
    kind = "draining"
    retryable = True

    def __init__(self, message: str = "The server is stopping; try again") -> None:
        super().__init__(message)


class SourceError(EmbedwellError):
    code = "SOURCE_ERROR"
    kind = "source_error"
    retryable = True


class InsufficientStorage(EmbedwellError):
    code = "INSUFFICIENT_STORAGE"
    kind = "insufficient_storage"


class ConfigurationError(EmbedwellError):
    """The configuration is wrong; `reasons` has every fault found, each with its path."""

    code = "CONFIGURATION_ERROR"

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = tuple(reasons)


class PluginError(EmbedwellError):
    code = "PLUGIN_ERROR"
