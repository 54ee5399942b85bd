"""One tree of errors. `code` is for machines, `status` for HTTP, the message for people.

A message says what happened, which value, and what to do next.

LoopwrightError                     500 internal
├── BadRequest                      400 invalid_request     the caller sent something unusable; `param` names it
│   ├── ContextOverflow             400 context_length_exceeded
│   └── TooLarge                    413 request_too_large
├── Unauthenticated                 401 invalid_api_key
├── Refused                         403 permission_denied   policy said no
├── NotFound                        404 not_found
│   └── UnknownModel                404 model_not_found     the message names the nearest
├── Conflict                        409 conflict
├── Busy                            429 rate_limit_exceeded `retry_after` seconds
│   └── Spent                       429 insufficient_quota  a budget is used up: coming back soon does not help
├── UpstreamError                   502 upstream_error      a provider or engine answered with a failure
│   ├── UpstreamRefused             502 upstream_refused    4xx from upstream; its status is kept in `upstream_status`
│   ├── UpstreamBroke               502 upstream_broke      cut off, malformed or truncated
│   ├── InvalidOutput               502 invalid_output      the answer does not fit its schema; names the failing path
│   └── UpstreamTimeout             504 upstream_timeout
├── Unavailable                     503 unavailable         nothing can answer now; `retry_after` says when to try again
│   └── Sealed                      503 sealed              a text at rest is sealed with a key that is not here
│       └── Changed                 503 sealed              … or was changed since, or belongs elsewhere
├── SettingsError                   exit 2                  a wrong configuration: file, line, key, what is allowed
└── StartError                      exit 1                  a precondition of starting is missing: says what to do
"""

from __future__ import annotations

from typing import Any


class LoopwrightError(Exception):
    """Something inside Loopwright failed."""

    code = "internal"
    status = 500
    type = "server_error"
    served: tuple[str, str] | None = None
    """(provider, its own name of the model) that was asked last, where that is known."""

    def __init__(self, message: str = "", *, param: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        self.param = param
        self.retry_after = retry_after

    @property
    def message(self) -> str:
        """What happened, for people."""
        return str(self)


class BadRequest(LoopwrightError):
    """The request cannot be used as it is."""

    code = "invalid_request"
    status = 400
    type = "invalid_request_error"


class ContextOverflow(BadRequest):
    """Prompt and answer together do not fit the model's context."""

    code = "context_length_exceeded"

    def __init__(self, message: str = "", *, param: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, param=param or "messages", retry_after=retry_after)


class TooLarge(BadRequest):
    """The request body is over the limit."""

    code = "request_too_large"
    status = 413


class Unauthenticated(LoopwrightError):
    """No key, or a key nobody knows."""

    code = "invalid_api_key"
    status = 401
    type = "authentication_error"


class Refused(LoopwrightError):
    """Policy said no."""

    code = "permission_denied"
    status = 403
    type = "permission_error"


class NotFound(LoopwrightError):
    """There is no such thing."""

    code = "not_found"
    status = 404
    type = "invalid_request_error"


class UnknownModel(NotFound):
    """No model has this name."""

    code = "model_not_found"


class Conflict(LoopwrightError):
    """It is already there, or has changed meanwhile."""

    code = "conflict"
    status = 409
    type = "invalid_request_error"


class Busy(LoopwrightError):
    """A limit is used up for now."""

    code = "rate_limit_exceeded"
    status = 429
    type = "rate_limit_error"


class Spent(Busy):
    """A budget is used up."""

    code = "insufficient_quota"
    type = "insufficient_quota"


class UpstreamError(LoopwrightError):
    """A provider or an engine failed."""

    code = "upstream_error"
    status = 502
    type = "upstream_error"

    def __init__(
        self,
        message: str = "",
        *,
        upstream_status: int | None = None,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, param=param, retry_after=retry_after)
        self.upstream_status = upstream_status


class UpstreamRefused(UpstreamError):
    """The provider refused our request or our credentials."""

    code = "upstream_refused"


class UpstreamBroke(UpstreamError):
    """The answer broke off before its end."""

    code = "upstream_broke"


class InvalidOutput(UpstreamError):
    """The model's answer does not fit the schema it must fit."""

    code = "invalid_output"

    def __init__(self, message: str = "", *, usage: Any = None, model: str = "", provider: str = "") -> None:
        super().__init__(message)
        self.usage = usage
        """What the attempts took, which is paid for all the same: a `core.money.Usage`, or None.

        Its module is not imported: every command and every client reads this one, and msgspec costs ten milliseconds.
        """
        self.model = model
        self.provider = provider


class UpstreamTimeout(UpstreamError):
    """The answer did not come in time."""

    code = "upstream_timeout"
    status = 504
    asked = True
    """The question may have reached it; False when there was no connection in time."""


class Unavailable(LoopwrightError):
    """Nothing can answer now."""

    code = "unavailable"
    status = 503


class Sealed(Unavailable):
    """A text at rest cannot be opened: its key is not here."""

    code = "sealed"

    def __init__(self, key_id: str = "?") -> None:
        super().__init__(f"sealed with key {key_id!r}, which is not here: give it back in encryption.keys")
        self.key_id = key_id


class Changed(Sealed):
    """A text at rest was changed, cut short, or moved from elsewhere."""

    def __init__(self, key_id: str = "?") -> None:
        super().__init__(key_id)
        self.args = (f"sealed with key {key_id!r}, but changed since, cut short, or moved from elsewhere",)


class SettingsError(LoopwrightError):
    """The configuration is wrong."""

    code = "settings"


class StartError(LoopwrightError):
    """Loopwright cannot start."""

    code = "start"
