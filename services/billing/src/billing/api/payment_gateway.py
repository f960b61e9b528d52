"""Seed 002's payment gateway: accounts at Asaas and PagBank, and charges by them."""

from typing import Any, Final

ROUTES: Final[list[Any]] = []
