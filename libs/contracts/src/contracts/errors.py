"""The errors a service may raise; the chassis renders each one once, as an RFC 9457 problem.

ServiceError
├── Malformed             400  the request cannot be read at all
├── Unauthenticated       401  nobody vouches for the caller
├── Forbidden             403  the caller is known and may not
├── NotFound              404  missing, or another tenant's: the two look the same
├── Conflict              409  the state does not allow it
├── TooLarge              413  over a stated limit
├── UnsupportedMedia      415  not a media type we read
├── Invalid               422  well formed, but wrong; `errors` names the fields
├── PreconditionRequired  428  a header that the operation needs is missing
├── TooManyRequests       429  over a rate limit; `retry_after_s` says when
├── BadGateway            502  an upstream answered nonsense
├── Unavailable           503  a dependency is away for now; the only kind that is retried
└── GatewayTimeout        504  an upstream did not answer in time
"""

from collections.abc import Sequence
from typing import ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One wrong field: its path (`$.to[0].email`) and what is wrong with it."""

    field: str
    message: str


class ServiceError(Exception):
    """What went wrong, in words that may be shown to the caller.

    `code` is a stable machine-readable name; `detail` must hold no secret, SQL or other tenant's data.
    """

    status: ClassVar[int] = 500
    default_code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: Sequence[FieldError] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s


class Malformed(ServiceError):
    """The request cannot be read at all."""

    status = 400
    default_code = "malformed_request"
    title = "Malformed request"


class Unauthenticated(ServiceError):
    """Nobody vouches for the caller."""

    status = 401
    default_code = "unauthenticated"
    title = "Authentication required"


class Forbidden(ServiceError):
    """The caller is known and may not do this."""

    status = 403
    default_code = "forbidden"
    title = "Forbidden"


class NotFound(ServiceError):
    """Missing, or another tenant's: the two look the same."""

    status = 404
    default_code = "not_found"
    title = "Not found"


class Conflict(ServiceError):
    """The present state does not allow it."""

    status = 409
    default_code = "conflict"
    title = "Conflict"


class TooLarge(ServiceError):
    """Over a stated limit of size."""

    status = 413
    default_code = "too_large"
    title = "Content too large"


class UnsupportedMedia(ServiceError):
    """Not a media type or content coding that the operation reads."""

    status = 415
    default_code = "unsupported_media_type"
    title = "Unsupported media type"


class Invalid(ServiceError):
    """Well formed, but wrong; `errors` names the fields."""

    status = 422
    default_code = "invalid"
    title = "Invalid request"


class PreconditionRequired(ServiceError):
    """A header that the operation needs is missing."""

    status = 428
    default_code = "precondition_required"
    title = "Precondition required"


class TooManyRequests(ServiceError):
    """Over a rate limit; `retry_after_s` says when to come back."""

    status = 429
    default_code = "too_many_requests"
    title = "Too many requests"


class BadGateway(ServiceError):
    """An upstream answered nonsense."""

    status = 502
    default_code = "bad_gateway"
    title = "Bad gateway"


class Unavailable(ServiceError):
    """A dependency is away for now; the only kind that a consumer retries."""

    status = 503
    default_code = "unavailable"
    title = "Service unavailable"


class GatewayTimeout(ServiceError):
    """An upstream did not answer in time."""

    status = 504
    default_code = "gateway_timeout"
    title = "Gateway timeout"
