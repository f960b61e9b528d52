"""The contact form of seed 002."""

from typing import Any, Final

ROUTES: Final[list[Any]] = []
