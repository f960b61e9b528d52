"""Sign-in, refresh, sign-out, and links by mail."""

from typing import Any, Final

ROUTES: Final[list[Any]] = []
