"""Tenant identifiers that mean something to every service."""

from typing import Final
from uuid import UUID

#: The platform itself: its rows are the defaults that every tenant may read and none may write.
PLATFORM_TENANT_ID: Final = UUID(int=0)
