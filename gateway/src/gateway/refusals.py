"""The refusals that only the edge knows, beside those of `contracts.errors`."""

from collections.abc import Iterable

from contracts.errors import ServiceError


class MethodNotAllowed(ServiceError):
    """The path exists, the method does not; `allow` lists those that do."""

    status = 405
    default_code = "method_not_allowed"
    title = "Method not allowed"

    def __init__(self, allow: Iterable[str]) -> None:
        self.allow = ", ".join(sorted(allow))
        super().__init__(f"this path answers {self.allow}")


class RequestTimeout(ServiceError):
    """The client did not send its request in time."""

    status = 408
    default_code = "request_timeout"
    title = "Request timeout"


class UriTooLong(ServiceError):
    """The request target is over its limit."""

    status = 414
    default_code = "uri_too_long"
    title = "URI too long"


class ExpectationFailed(ServiceError):
    """An Expect header other than 100-continue."""

    status = 417
    default_code = "expectation_failed"
    title = "Expectation failed"


class HeadersTooLarge(ServiceError):
    """The header section is over its limit of bytes or fields."""

    status = 431
    default_code = "headers_too_large"
    title = "Request header fields too large"


class VersionNotSupported(ServiceError):
    """Neither HTTP/1.1 nor HTTP/1.0."""

    status = 505
    default_code = "http_version_not_supported"
    title = "HTTP version not supported"
