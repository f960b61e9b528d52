"""Roles and permissions over HTTP."""

from typing import Any, Final

ROUTES: Final[list[Any]] = []
