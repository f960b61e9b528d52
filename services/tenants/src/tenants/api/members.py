"""Members of a tenant over HTTP."""

from typing import Any, Final

ROUTES: Final[list[Any]] = []
