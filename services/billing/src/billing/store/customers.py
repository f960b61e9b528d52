"""SQL over customers and customer_accounts."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from billing.domain.customers import Customer
from chassis.db import Connection
from contracts.errors import NotFound


async def find_customer(conn: Connection, tenant_id: UUID, customer_id: UUID) -> Customer | None:
    """The customer, or None."""
    row = await conn.fetchrow("SELECT * FROM customers WHERE tenant_id = $1 AND id = $2", tenant_id, customer_id)
    return None if row is None else msgspec.convert(dict(row), Customer)


async def get_customer(conn: Connection, tenant_id: UUID, customer_id: UUID) -> Customer:
    """The customer. Raises NotFound."""
    customer = await find_customer(conn, tenant_id, customer_id)
    if customer is None:
        raise NotFound("no such customer")
    return customer


async def find_platform_customer(conn: Connection, tenant_id: UUID, email: str) -> Customer | None:
    """The buying tenant's customer row of that address, kept from others."""
    row = await conn.fetchrow(
        "SELECT * FROM customers WHERE tenant_id = $1 AND sold_by = 'platform' AND email = $2 FOR NO KEY UPDATE",
        tenant_id,
        email,
    )
    return None if row is None else msgspec.convert(dict(row), Customer)


async def find_latest_platform_customer(conn: Connection, tenant_id: UUID) -> Customer | None:
    """The buying tenant's customer row that was used last, kept from others."""
    row = await conn.fetchrow(
        """
        SELECT * FROM customers WHERE tenant_id = $1 AND sold_by = 'platform' AND erased_at IS NULL
        ORDER BY updated_at DESC, id DESC LIMIT 1 FOR NO KEY UPDATE
        """,
        tenant_id,
    )
    return None if row is None else msgspec.convert(dict(row), Customer)


async def find_own_customer(conn: Connection, tenant_id: UUID, email: str) -> Customer | None:
    """The selling tenant's customer of that address, the latest of several, kept from others."""
    row = await conn.fetchrow(
        """
        SELECT * FROM customers WHERE tenant_id = $1 AND sold_by = 'tenant' AND email = $2
        ORDER BY id DESC LIMIT 1 FOR NO KEY UPDATE
        """,
        tenant_id,
        email,
    )
    return None if row is None else msgspec.convert(dict(row), Customer)


async def insert_platform_customer(conn: Connection, tenant_id: UUID, customer: Customer) -> bool:
    """Whether the customer was added; not where another of that address is there, or being added, already."""
    added = await conn.fetchval(
        """
        INSERT INTO customers (tenant_id, id, sold_by, email, name, tax_id, phone, lead_id, is_provisional, created_at,
                               updated_at)
        VALUES ($1, $2, 'platform', $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (tenant_id, email) WHERE sold_by = 'platform' AND email IS NOT NULL DO NOTHING RETURNING true
        """,
        tenant_id,
        customer.id,
        customer.email,
        customer.name,
        customer.tax_id,
        customer.phone,
        customer.lead_id,
        customer.is_provisional,
        customer.created_at,
        customer.updated_at,
    )
    return added is True


async def list_customers_of_lead(conn: Connection, tenant_id: UUID, lead_id: str) -> list[Customer]:
    """The tenant's customers that its CRM knows as this lead."""
    rows = await conn.fetch(
        "SELECT * FROM customers WHERE tenant_id = $1 AND lead_id = $2 ORDER BY id", tenant_id, lead_id
    )
    return msgspec.convert([dict(row) for row in rows], list[Customer])


async def upsert_customer(conn: Connection, tenant_id: UUID, customer: Customer) -> None:
    """Writes the customer."""
    await conn.execute(
        """
        INSERT INTO customers (tenant_id, id, sold_by, email, name, tax_id, phone, lead_id, is_provisional, created_at,
                               updated_at, erased_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        ON CONFLICT (tenant_id, id) DO UPDATE SET
            email = excluded.email, name = excluded.name, tax_id = excluded.tax_id, phone = excluded.phone,
            lead_id = excluded.lead_id, is_provisional = excluded.is_provisional, updated_at = excluded.updated_at,
            erased_at = excluded.erased_at
        """,
        tenant_id,
        customer.id,
        customer.sold_by,
        customer.email,
        customer.name,
        customer.tax_id,
        customer.phone,
        customer.lead_id,
        customer.is_provisional,
        customer.created_at,
        customer.updated_at,
        customer.erased_at,
    )


async def settle_provisional(conn: Connection, tenant_id: UUID, now: datetime) -> None:
    """The tenant exists: its customers are nobody's guess any more."""
    await conn.execute(
        "UPDATE customers SET is_provisional = false, updated_at = $2 WHERE tenant_id = $1 AND is_provisional",
        tenant_id,
        now,
    )


async def erase_customers(conn: Connection, tenant_id: UUID, email: str, now: datetime) -> list[UUID]:
    """Blanks every customer row of that address; returns their ids."""
    rows: list[Any] = await conn.fetch(
        """
        UPDATE customers SET email = NULL, name = NULL, tax_id = NULL, phone = NULL, erased_at = $3, updated_at = $3
        WHERE tenant_id = $1 AND email = $2 RETURNING id
        """,
        tenant_id,
        email,
        now,
    )
    return [row["id"] for row in rows]


async def find_external_id(
    conn: Connection, tenant_id: UUID, customer_id: UUID, provider: str, account_id: UUID
) -> str | None:
    """What the customer is called at the provider."""
    found: str | None = await conn.fetchval(
        """
        SELECT external_id FROM customer_accounts
        WHERE tenant_id = $1 AND customer_id = $2 AND provider = $3 AND account_id = $4
        """,
        tenant_id,
        customer_id,
        provider,
        account_id,
    )
    return found


async def list_external_ids(conn: Connection, tenant_id: UUID, provider: str, account_id: UUID) -> list[str]:
    """What the tenant's customers are called there, newest first."""
    rows = await conn.fetch(
        """
        SELECT external_id FROM customer_accounts
        WHERE tenant_id = $1 AND provider = $2 AND account_id = $3 ORDER BY created_at DESC
        """,
        tenant_id,
        provider,
        account_id,
    )
    return [row["external_id"] for row in rows]


async def upsert_external_id(
    conn: Connection, tenant_id: UUID, customer_id: UUID, provider: str, account_id: UUID, external_id: str,
    now: datetime,
) -> None:  # fmt: skip
    """Notes what the customer is called at the provider."""
    await conn.execute(
        """
        INSERT INTO customer_accounts (tenant_id, customer_id, provider, account_id, external_id, created_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (tenant_id, customer_id, provider, account_id) DO UPDATE SET external_id = excluded.external_id
        """,
        tenant_id,
        customer_id,
        provider,
        account_id,
        external_id,
        now,
    )
