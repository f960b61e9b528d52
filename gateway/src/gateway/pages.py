"""What the gateway answers itself: a page is awaited for status, content type and body."""

from collections.abc import Awaitable, Callable

Page = Callable[[], Awaitable[tuple[int, bytes, bytes]]]


def fixed(content_type: bytes, body: bytes) -> Page:
    """A page that is always the same."""

    async def page() -> tuple[int, bytes, bytes]:
        return 200, content_type, body

    return page
