"""Forgets a tenant's credentials at a provider."""

from datetime import datetime
from uuid import UUID

from billing import store
from billing.domain.provider_accounts import Environment
from billing.domain.providers import Provider
from billing.usecases.record_audit import record_audit
from chassis.db import Connection
from contracts.audit import Doer
from contracts.errors import NotFound


async def delete_provider_account(
    conn: Connection, tenant_id: UUID, provider: Provider, environment: Environment, *, by: Doer, now: datetime
) -> None:
    """The account and its webhook token are gone; its charges stay on record, but are not asked after any more.

    Raises NotFound.
    """
    account = await store.provider_accounts.lock_account_of(conn, tenant_id, provider.value, environment.value)
    if account is None:
        raise NotFound("Configuration not found")
    await store.provider_accounts.delete_webhook_tokens(conn, tenant_id, account.id)
    await store.provider_accounts.delete_account(conn, tenant_id, provider.value, environment.value)
    await record_audit(
        conn,
        tenant_id,
        "provider_account.deleted",
        by=by,
        kind="provider_account",
        target_id=account.id,
        now=now,
        provider=provider.value,
        environment=environment.value,
    )
