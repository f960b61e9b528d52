"""What a try leaves behind is written whole and by the claim's owner only."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from bus.envelope import decode_envelope
from chassis.db import Database, platform_transaction
from mailer import store
from mailer.domain import emails
from mailer.domain.emails import NewMail
from mailer.usecases.record_endings import record_endings

MakeMail = Callable[..., NewMail]


async def test_a_zombie_records_nothing_and_tells_nobody(db: Database, tenant: UUID, make_mail: MakeMail) -> None:
    now = datetime.now(UTC)
    async with platform_transaction(db) as conn:
        await store.emails.insert_queued(conn, [make_mail(tenant)])
        [frozen] = await store.emails.claim_due(conn, {}, other_room=4, limit=9, lease_s=0)
    async with platform_transaction(db) as conn:
        [living] = await store.emails.claim_due(conn, {}, other_room=4, limit=9, lease_s=30)
        assert await record_endings(conn, [(living, emails.SENT)], now=now) == 1
    async with platform_transaction(db) as conn:
        bounce = emails.bounced(550, "no such user", suppress=True)
        assert await record_endings(conn, [(frozen, bounce)], now=now) == 0
        assert await conn.fetchval("SELECT status FROM emails") == "sent"
        assert await conn.fetchval("SELECT count(*) FROM suppressions") == 0
        assert await conn.fetchval("SELECT array_agg(type) FROM outbox") == ["mailer.email.sent.v1"]


async def test_only_a_mailbox_at_fault_is_suppressed(db: Database, tenant: UUID, make_mail: MakeMail) -> None:
    now = datetime.now(UTC)
    async with platform_transaction(db) as conn:
        await store.emails.insert_queued(conn, [make_mail(tenant, to_email=f"{n}@example.com") for n in range(2)])
        claims = await store.emails.claim_due(conn, {}, other_room=4, limit=9, lease_s=30)
        endings = [
            emails.bounced(550, "5.1.1 unknown", suppress=True),
            emails.bounced(554, "5.7.1 spam", suppress=False),
        ]
        assert await record_endings(conn, list(zip(claims, endings, strict=True)), now=now) == 2
        assert await conn.fetchval("SELECT array_agg(email) FROM suppressions") == [claims[0].to_email]


async def test_each_ending_is_told_in_its_own_jobs_trace(db: Database, tenant: UUID, make_mail: MakeMail) -> None:
    traces = [f"00-{n:032x}-{n:016x}-01" for n in (1, 2)]
    async with platform_transaction(db) as conn:
        await store.emails.insert_queued(conn, [make_mail(tenant, traceparent=trace) for trace in [*traces, None]])
        claims = await store.emails.claim_due(conn, {}, other_room=4, limit=9, lease_s=30)
        assert await record_endings(conn, [(claim, emails.SENT) for claim in claims], now=datetime.now(UTC)) == 3
        bodies = await conn.fetch("SELECT aggregate_id, body FROM outbox")
    told = {row["aggregate_id"]: decode_envelope(row["body"]).traceparent for row in bodies}
    assert told == {claim.id: claim.traceparent for claim in claims}
    assert set(told.values()) == {*traces, None}
