"""Which pages may call: CORS answers, and the origin check behind cookies."""

from collections.abc import Iterable
from typing import Final

_ALLOWED_HEADERS: Final = (
    b"authorization, content-type, idempotency-key, if-match, if-none-match, prefer, traceparent, "
    b"x-request-id, x-tenant-id"
)
_EXPOSED_HEADERS: Final = b"etag, idempotency-replayed, link, location, retry-after, x-request-id"
_MAX_AGE: Final = b"600"
Headers = list[tuple[bytes, bytes]]


class Origins:
    """The origins of CORS_ORIGINS, compared whole: no wildcard, no suffix, no null."""

    def __init__(self, allowed: Iterable[str]) -> None:
        """Raises ValueError for what is not scheme://host[:port]."""
        self._allowed = frozenset(origin.rstrip("/").encode() for origin in allowed)
        for origin in self._allowed:
            scheme, separator, host = origin.partition(b"://")
            if scheme not in (b"http", b"https") or not separator or not host or b"/" in host or b"*" in host:
                raise ValueError("they are not origins: a scheme, a host and perhaps a port, without wildcards")

    def knows(self, origin: bytes | None, scheme: str, host: bytes | None) -> bool:
        """Whether a page of `origin` may use the cookie: a listed one, or one of ours."""
        if origin is None:
            return False
        return origin in self._allowed or (host is not None and origin == scheme.encode() + b"://" + host)

    def answer_headers(self, origin: bytes) -> Headers:
        """What an answer to a page of `origin` carries."""
        if origin not in self._allowed:
            return [(b"vary", b"Origin")]
        return [
            (b"vary", b"Origin"),
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", _EXPOSED_HEADERS),
        ]

    def preflight_headers(self, origin: bytes, methods: Iterable[str]) -> Headers:
        """What a browser needs to know before it sends the request itself."""
        if origin not in self._allowed:
            return [(b"vary", b"Origin")]
        return [
            (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-allow-methods", ", ".join(sorted(methods)).encode()),
            (b"access-control-allow-headers", _ALLOWED_HEADERS),
            (b"access-control-max-age", _MAX_AGE),
        ]
