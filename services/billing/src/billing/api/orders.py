"""Orders and their timelines over HTTP."""

from typing import Any, Final

ROUTES: Final[list[Any]] = []
