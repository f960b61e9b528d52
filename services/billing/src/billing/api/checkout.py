"""Payment pages, from the seeds' three routes."""

from typing import Any, Final

ROUTES: Final[list[Any]] = []
