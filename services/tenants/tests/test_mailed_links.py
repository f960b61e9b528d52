"""A link that lets its reader in does not stay in the outbox: its mail is erased once the broker had it for a while."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from bus.outbox import TOMBSTONE, republish
from chassis.db import Database, platform_transaction
from tenants.usecases.erase_mailed_links import KEPT, erase_mailed_links
from testkit.service import until

from .people import at_work, staff_of
from .sign_in_records import PASSWORD, a_tenant, public

#: The templates with a link, and one without.
WITH_LINK = {"account_reset", "account_verify_email", "account_welcome", "account_invitation"}


async def mail_everybody(tenants: Any) -> None:
    """A mail of every kind: three by strangers and colleagues, an invitation, and a notice without a link."""
    staff = await staff_of(tenants.db, await a_tenant(tenants.db))
    email = staff.owner.email
    await public(tenants, "/auth/forgot-password", {"email": email})
    for address in ("new@example.com", email):
        body = {"email": address, "password": PASSWORD, "name": "Rui"}
        assert (await public(tenants, "/auth/register", body)).status_code == 201
    user = {"email": "bia@example.com", "name": "Bia", "role": "user"}
    assert (await at_work(tenants, staff.owner, staff.tenant, "POST", "/users", json=user)).status_code == 201
    path = f"/tenants/{staff.tenant.tenant_id}/invitations"
    body = {"email": "eva@example.com", "role": "user"}
    assert (await at_work(tenants, staff.owner, staff.tenant, "POST", path, json=body)).status_code == 201


async def publish(db: Database, ago: timedelta, *, but: str = "nothing") -> None:
    """The broker confirmed all mails that long ago, but those of one template."""
    async with platform_transaction(db) as conn:
        await conn.execute(
            """
            UPDATE outbox SET published_at = clock_timestamp() - $1::interval
            WHERE type = 'mail_queue' AND convert_from(body, 'UTF8')::jsonb ->> 'template' <> $2
            """,
            ago,
            but,
        )


async def bodies(db: Database) -> list[bytes]:
    async with platform_transaction(db) as conn:
        rows = await conn.fetch("SELECT body FROM outbox WHERE type = 'mail_queue' ORDER BY id")
    return [row["body"] for row in rows]


async def erase(db: Database) -> int:
    async with platform_transaction(db) as conn:
        return await erase_mailed_links(conn, now=datetime.now(UTC))


async def test_every_mail_with_a_link_is_erased_and_no_other(start: Any) -> None:
    tenants = await start(ROLE="api")
    await mail_everybody(tenants)
    before = await bodies(tenants.db)
    assert sum(b"token=" in body for body in before) == len(WITH_LINK)
    assert all(any(template.encode() in body for body in before) for template in WITH_LINK)
    assert await erase(tenants.db) == 0, "the broker has none of them yet"
    await publish(tenants.db, KEPT - timedelta(seconds=30))
    assert await erase(tenants.db) == 0, "a broker that loses its data now is sent them again"
    await publish(tenants.db, KEPT + timedelta(seconds=1), but="account_welcome")
    assert await erase(tenants.db) == 3
    assert await erase(tenants.db) == 0
    after = await bodies(tenants.db)
    assert after.count(TOMBSTONE) == 3
    [waiting] = [body for body in after if b"token=" in body]
    assert b"account_welcome" in waiting
    assert [body for body in after if b"account_security_notice" in body]
    async with tenants.db.relay.acquire() as conn:
        await republish(conn, since=datetime.now(UTC) - timedelta(days=1))
        assert (
            await conn.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL AND body = $1", TOMBSTONE) == 0
        )


async def test_what_is_sent_again_is_not_erased_meanwhile(start: Any) -> None:
    """Were it erased between the operator's word and the relay's turn, nobody would ever get it."""
    tenants = await start(ROLE="api")
    await mail_everybody(tenants)
    await publish(tenants.db, KEPT * 2)
    async with tenants.db.relay.acquire() as conn, conn.transaction():
        assert await republish(conn, since=datetime.now(UTC) - timedelta(days=1)) > 0
        assert await erase(tenants.db) == 0
    assert await erase(tenants.db) == 0
    assert TOMBSTONE not in await bodies(tenants.db)


async def test_the_schedule_does_it_once_however_many_run(start: Any) -> None:
    tenants = await start(ROLE="api")
    await mail_everybody(tenants)
    await publish(tenants.db, KEPT * 2)
    assert sum(await asyncio.gather(*(erase(tenants.db) for _ in range(4)))) == len(WITH_LINK)


async def test_the_worker_erases_and_forgets_what_is_gone(start: Any) -> None:
    tenants = await start(SCHEDULE_EVERY_S="0.1")
    await mail_everybody(tenants)
    await publish(tenants.db, KEPT * 2, but="account_reset")
    async with platform_transaction(tenants.db) as conn:
        await conn.execute("DELETE FROM outbox WHERE body LIKE '%account_reset%'::bytea")

    async def done() -> bool:
        async with platform_transaction(tenants.db) as conn:
            return not await conn.fetchval("SELECT count(*) FROM mailed_links")

    await until(done)
    assert not [body for body in await bodies(tenants.db) if b"token=" in body]
