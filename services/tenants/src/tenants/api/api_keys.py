"""API keys over HTTP, in seed 002's shapes."""

from typing import Any, Final

ROUTES: Final[list[Any]] = []
