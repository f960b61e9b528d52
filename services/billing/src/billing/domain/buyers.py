"""Who buys a plan, and for which tenant."""

from uuid import UUID

import msgspec


class Buyer(msgspec.Struct, frozen=True, kw_only=True):
    """A buyer of the platform's, as far as this purchase says.

    `email` is lower case, None only for somebody signed in whose address nobody knows; `tax_id` is bare. What somebody
    who has not signed in says of themselves is theirs for this order only, unless `is_new_tenant`: nobody owns the
    tenant yet.
    """

    tenant_id: UUID
    email: str | None
    name: str | None = None
    tax_id: str | None = None
    is_signed_in: bool
    is_new_tenant: bool = False
