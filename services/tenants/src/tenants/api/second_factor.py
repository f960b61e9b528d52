"""The second factor over HTTP."""

from typing import Any, Final

ROUTES: Final[list[Any]] = []
