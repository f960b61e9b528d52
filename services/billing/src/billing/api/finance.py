"""Seed 001's view of money: /financeiro."""

from typing import Any, Final

ROUTES: Final[list[Any]] = []
