"""Addresses that are not written to again."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec


class Cause(StrEnum):
    """Who put the address on the list: a server's refusal, or a person."""

    BOUNCED = "bounced"
    MANUAL = "manual"


class Suppression(msgspec.Struct, frozen=True, kw_only=True):
    """One row of suppressions; `email` is in lower case."""

    id: UUID
    tenant_id: UUID
    email: str
    cause: Cause
    detail: str | None
    email_id: UUID | None
    created_at: datetime


def normal_form(email: str) -> str:
    """The spelling by which an address is looked up: servers that tell case apart are not worth a second mail."""
    return email.lower()
