"""Who pays, and whom the platform or a tenant sells to."""

from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

#: The account id that stands for the platform's own credentials, which come from the environment.
PLATFORM_ACCOUNT: Final = UUID(int=0)


class SoldBy(StrEnum):
    """Who sells. `platform`: the row's tenant buys. `tenant`: the row's tenant sells to its own customers."""

    PLATFORM = "platform"
    TENANT = "tenant"


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """One row of customers; `tax_id` is sealed, `email` lower case."""

    id: UUID
    tenant_id: UUID
    sold_by: SoldBy
    email: str | None
    name: str | None
    tax_id: bytes | None
    phone: str | None
    lead_id: str | None
    is_provisional: bool
    created_at: datetime
    updated_at: datetime
    erased_at: datetime | None
