"""Webhooks of payment providers: verified, stored, answered."""

from typing import Any, Final

ROUTES: Final[list[Any]] = []
