"""Stored provider events, for administrators."""

from typing import Any, Final

ROUTES: Final[list[Any]] = []
