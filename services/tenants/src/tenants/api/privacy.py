"""Requests about personal data over HTTP."""

from typing import Any, Final

ROUTES: Final[list[Any]] = []
