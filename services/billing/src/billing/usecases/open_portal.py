"""Opens Stripe's page on which a customer manages what they have; each caller only their own."""

from uuid import UUID

import msgspec

from billing import store
from billing.accounts import Accounts
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.identifiers import new_id
from billing.domain.providers import Provider
from billing.stripe_api import StripeApi
from billing.usecases.call_provider import call_provider
from chassis.clock import Clock
from chassis.db import Database, transaction
from contracts.errors import NotFound


class _PortalRequest(msgspec.Struct, frozen=True, kw_only=True):
    customer_external_id: str
    return_url: str


class _Portal(msgspec.Struct, frozen=True, kw_only=True):
    url: str


async def open_portal(
    db: Database,
    accounts: Accounts,
    tenant_id: UUID,
    *,
    customer_external_id: str | None,
    return_url: str,
    clock: Clock,
) -> str:
    """The page's URL, good for minutes: a new one each time. Without a customer named, the tenant's latest.

    Raises NotFound for a customer that is not the tenant's, or where it has none; and what `call_provider` does.
    """
    async with transaction(db, tenant_id) as conn:
        known = await store.customers.list_external_ids(conn, tenant_id, Provider.STRIPE, PLATFORM_ACCOUNT)
    if not known or (customer_external_id is not None and customer_external_id not in known):
        raise NotFound("no such customer")
    api = await accounts.of_platform(Provider.STRIPE)
    assert isinstance(api, StripeApi)

    async def ask(request: _PortalRequest, key: str) -> _Portal:
        return _Portal(url=await api.create_portal(request.customer_external_id, request.return_url, key=key))

    portal = await call_provider(
        db,
        tenant_id,
        provider=Provider.STRIPE,
        account_id=PLATFORM_ACCOUNT,
        operation="portal",
        key=f"portal-{new_id(clock())}",
        params=_PortalRequest(customer_external_id=customer_external_id or known[0], return_url=return_url),
        ask=ask,
        answer=_Portal,
        clock=clock,
    )
    return portal.url
