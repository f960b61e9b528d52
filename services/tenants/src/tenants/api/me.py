"""Who somebody is and what they may, told to themselves."""

from typing import Any, Final

ROUTES: Final[list[Any]] = []
