"""What the edge asks for when it starts."""

from typing import Any, Final

ROUTES: Final[list[Any]] = []
