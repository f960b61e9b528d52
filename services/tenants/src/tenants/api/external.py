"""Seed 002's entry for a checkout site: a payment becomes a tenant and its owner."""

from typing import Any, Final

ROUTES: Final[list[Any]] = []
