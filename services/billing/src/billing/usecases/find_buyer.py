"""Finds the tenant that a purchase is for: the caller's own, or, without sign-in, the one that the address owns."""

from datetime import datetime
from uuid import UUID

from billing import store
from billing.domain.buyers import Buyer
from billing.domain.identifiers import new_id
from chassis.db import Database, platform_transaction, transaction
from chassis.identity import Identity, tenant_of
from contracts.errors import Malformed
from contracts.tenancy import PLATFORM_TENANT_ID


async def find_buyer(
    db: Database, identity: Identity, *, email: str | None, name: str | None, tax_id: str | None, now: datetime
) -> Buyer:
    """Who buys. An address that nobody owns gets a tenant of its own, minted here, the same one for all who ask.

    Commits by itself, so that two first purchases at once end in one tenant; a minted tenant is only an id until
    somebody pays. Raises Malformed where neither an address nor a tenant is known, and for the platform itself.
    """
    if email is not None and identity.tenant_id is None and identity.kind in ("public", "user"):
        async with platform_transaction(db) as conn:
            owner = await store.directory.claim_email(conn, email, new_id(now), now)
        return Buyer(
            tenant_id=owner.tenant_id,
            email=email,
            name=name,
            tax_id=tax_id,
            is_signed_in=False,
            is_new_tenant=owner.user_id is None,
        )
    tenant_id = tenant_of(identity)
    if tenant_id == PLATFORM_TENANT_ID:
        raise Malformed("The platform buys nothing of itself: name a tenant (x-tenant-id).", code="tenant_required")
    if email is None:
        email = await _known_email(db, tenant_id, identity.subject)
    return Buyer(tenant_id=tenant_id, email=email, name=name, tax_id=tax_id, is_signed_in=True)


async def _known_email(db: Database, tenant_id: UUID, subject: str) -> str | None:
    try:
        user_id = UUID(subject)
    except ValueError:
        return None
    async with transaction(db, tenant_id) as conn:
        return await store.directory.find_email_of_user(conn, tenant_id, user_id)
