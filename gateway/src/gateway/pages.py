"""What the gateway answers itself: a page is awaited for status, content type and body."""

from collections.abc import Awaitable, Callable

Page = Callable[[], Awaitable[tuple[int, bytes, bytes]]]
