"""Tenants over HTTP, in seed 004's shapes."""

from typing import Any, Final

ROUTES: Final[list[Any]] = []
