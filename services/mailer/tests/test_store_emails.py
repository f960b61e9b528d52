"""The queue and the log on a real Postgres: what is claimed, in which order, and who may record an ending."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from chassis.db import Connection, Database, platform_transaction, transaction
from contracts.errors import NotFound
from contracts.tenancy import PLATFORM_TENANT_ID
from mailer import store
from mailer.domain import emails as domain
from mailer.domain.email_settings import EmailSettings
from mailer.domain.emails import Claim, Filter, NewMail, Status
from mailer.domain.identifiers import new_id

MakeMail = Callable[..., NewMail]


async def claim(
    conn: Connection, *, limit: int = 100, room: int = 64, rooms: dict[UUID, int] | None = None
) -> list[Claim]:
    return await store.emails.claim_due(conn, rooms or {}, other_room=room, limit=limit, lease_s=30)


def settings_of(tenant_id: UUID, **fields: object) -> EmailSettings:
    now = datetime.now(UTC)
    values: dict[str, object] = {
        "id": new_id(now),
        "tenant_id": tenant_id,
        "provider": "smtp",
        "smtp_host": "smtp.example.com",
        "smtp_port": 587,
        "smtp_user": None,
        "smtp_pass": None,
        "smtp_secure": False,
        "sender_name": "Shop",
        "sender_email": "shop@example.com",
        "amqp_url": None,
        "is_active": True,
        "created_at": now,
        "updated_at": now,
    }
    return EmailSettings(**values | fields)  # type: ignore[arg-type]


async def test_a_due_mail_is_claimed_once_until_its_lease_ends(db: Database, tenant: UUID, make_mail: MakeMail) -> None:
    async with platform_transaction(db) as conn:
        await store.emails.insert_queued(conn, [make_mail(tenant, to_name="Ana", locale="en", job_id="j-1")])
    async with platform_transaction(db) as conn:
        [first] = await claim(conn)
        assert await claim(conn) == []
    assert (first.fence, first.attempts, first.lost_claims, first.job_id) == (1, 0, 1, "j-1")
    async with platform_transaction(db) as conn:
        await conn.execute("UPDATE emails SET due_at = now() - interval '1 second'")
        [second] = await claim(conn)
    assert (second.id, second.fence, second.lost_claims) == (first.id, 2, 2)
    async with platform_transaction(db) as conn:
        assert await store.emails.mark_ended(conn, [(first, domain.SENT)]) == set(), "a zombie recorded an ending"
        assert await store.emails.extend_leases(conn, [first], 30) == set()
        assert await store.emails.extend_leases(conn, [second], 30) == {second.id}
        assert await store.emails.mark_ended(conn, [(second, domain.SENT)]) == {second.id}
        assert await store.emails.mark_ended(conn, [(second, domain.SENT)]) == set()


async def test_what_the_claimer_has_in_hand_is_left_to_it(db: Database, tenant: UUID, make_mail: MakeMail) -> None:
    async with platform_transaction(db) as conn:
        await store.emails.insert_queued(conn, [make_mail(tenant) for _ in range(3)])
        held = await store.emails.claim_due(conn, {}, other_room=2, limit=2, lease_s=0)
    async with platform_transaction(db) as conn:
        in_hand = {mail.id for mail in held}
        [third] = await store.emails.claim_due(conn, {}, other_room=2, limit=9, lease_s=0, in_hand=in_hand)
        assert third.id not in in_hand
    async with platform_transaction(db) as conn:
        assert len(await claim(conn)) == 3, "another worker does not take what a dead one had"


async def test_workers_share_the_queue_without_overlap(db: Database, tenant: UUID, make_mail: MakeMail) -> None:
    async with platform_transaction(db) as conn:
        await store.emails.insert_queued(conn, [make_mail(tenant) for _ in range(200)])

    async def work() -> list[UUID]:
        mine: list[UUID] = []
        for _ in range(20):
            async with platform_transaction(db) as conn:
                mine += [claimed.id for claimed in await claim(conn, limit=20)]
        return mine

    claimed = [mail for worker in await asyncio.gather(*(work() for _ in range(4))) for mail in worker]
    assert len(claimed) == len(set(claimed)) == 200


async def test_tenants_take_turns_and_lanes_keep_to_their_room(db: Database, make_mail: MakeMail) -> None:
    busy, quiet, own = uuid4(), uuid4(), uuid4()
    lane = settings_of(own)
    async with transaction(db, own) as conn:
        await store.email_settings.upsert_settings(conn, own, lane)
    async with platform_transaction(db) as conn:
        await store.emails.insert_queued(conn, [make_mail(busy) for _ in range(50)])
        await store.emails.insert_queued(conn, [make_mail(quiet) for _ in range(2)])
        await store.emails.insert_queued(conn, [make_mail(own) for _ in range(9)])
    async with platform_transaction(db) as conn:
        claims = await claim(conn, limit=10, rooms={lane.id: 3}, room=64)
    assert Counter(claimed.tenant_id for claimed in claims) == {busy: 5, quiet: 2, own: 3}
    assert {claimed.lane for claimed in claims if claimed.tenant_id == own} == {lane.id}
    assert {claimed.lane for claimed in claims if claimed.tenant_id != own} == {PLATFORM_TENANT_ID}
    async with platform_transaction(db) as conn:
        claims = await claim(conn, rooms={lane.id: 0, PLATFORM_TENANT_ID: 1})
    assert len(claims) == 1
    assert claims[0].tenant_id == busy


async def test_the_platforms_server_is_the_lane_of_tenants_without_one(
    db: Database, tenant: UUID, make_mail: MakeMail
) -> None:
    shared = settings_of(PLATFORM_TENANT_ID)
    async with transaction(db, PLATFORM_TENANT_ID) as conn:
        await store.email_settings.upsert_settings(conn, PLATFORM_TENANT_ID, shared)
    async with platform_transaction(db) as conn:
        await store.emails.insert_queued(conn, [make_mail(tenant)])
        [claimed] = await claim(conn)
        assert claimed.lane == shared.id
        assert await store.email_settings.list_settings_of_lanes(conn, [shared.id, PLATFORM_TENANT_ID]) == [shared]


async def test_endings_write_what_the_log_shows(db: Database, tenant: UUID, make_mail: MakeMail) -> None:
    now = datetime.now(UTC)
    async with platform_transaction(db) as conn:
        await store.emails.insert_queued(conn, [make_mail(tenant, secret_variables=b"sealed") for _ in range(5)])
        claims = await claim(conn)
        endings = [
            domain.SENT,
            domain.bounced(550, "no such user", suppress=True),
            domain.deferred(claims[2], "4.7.1 greylisted", code=451, now=now, draw=0.5),
            domain.failed("no template"),
            domain.suppressed("manual"),
        ]
        assert len(await store.emails.mark_ended(conn, list(zip(claims, endings, strict=True)))) == 5
        kept = await conn.fetch("SELECT status FROM emails WHERE secret_variables IS NOT NULL")
        assert [row["status"] for row in kept] == ["deferred"], "a decided mail keeps its secret"
    async with transaction(db, tenant) as conn:
        by_status = {
            mail.status: mail for mail in await store.emails.list_emails(conn, tenant, Filter(), before=None, limit=9)
        }
        assert {status: mail.attempts for status, mail in by_status.items()} == {
            Status.SENT: 1,
            Status.BOUNCED: 1,
            Status.DEFERRED: 1,
            Status.FAILED: 0,
            Status.SUPPRESSED: 0,
        }
        assert by_status[Status.SENT].sent_at is not None
        assert (by_status[Status.BOUNCED].smtp_code, by_status[Status.BOUNCED].reason) == (550, "no such user")
        due = by_status[Status.DEFERRED].due_at
        assert due is not None
        assert timedelta(seconds=29) < due - now < timedelta(seconds=33)
        assert await store.emails.get_email(conn, tenant, claims[0].id) == by_status[Status.SENT]
        assert by_status[Status.SENT].variables == {"name": "Ana"}


async def test_the_log_is_filtered_and_paged(db: Database, tenant: UUID, make_mail: MakeMail) -> None:
    old = datetime(2026, 1, 1, tzinfo=UTC)
    mails = [
        make_mail(
            tenant, id=new_id(old + timedelta(hours=hour)), to_email=f"u{hour % 2}@example.com", template=f"t{hour}"
        )
        for hour in range(6)
    ]
    async with platform_transaction(db) as conn:
        await store.emails.insert_queued(conn, [*mails, make_mail(uuid4())])

    async def ids(wanted: Filter, before: UUID | None = None, limit: int = 9) -> list[int]:
        async with transaction(db, tenant) as conn:
            found = await store.emails.list_emails(conn, tenant, wanted, before=before, limit=limit)
        return [[mail.id for mail in mails].index(email.id) for email in found]

    assert await ids(Filter()) == [5, 4, 3, 2, 1, 0]
    assert await ids(Filter(), limit=2) == [5, 4]
    assert await ids(Filter(), before=mails[4].id) == [3, 2, 1, 0]
    assert await ids(Filter(status=Status.SENT)) == []
    assert await ids(Filter(status=Status.QUEUED, to_email="u1@example.com")) == [5, 3, 1]
    assert await ids(Filter(to_email="U1@Example.com")) == [5, 3, 1]
    assert await ids(Filter(template="t2")) == [2]
    assert await ids(Filter(since=old + timedelta(hours=2), until=old + timedelta(hours=4))) == [3, 2]


async def test_another_tenants_mail_is_not_found(db: Database, tenant: UUID, make_mail: MakeMail) -> None:
    mail = make_mail(tenant)
    async with platform_transaction(db) as conn:
        await store.emails.insert_queued(conn, [mail])
    stranger = uuid4()
    async with transaction(db, stranger) as conn:
        assert await store.emails.list_emails(conn, tenant, Filter(), before=None, limit=9) == []
        with pytest.raises(NotFound):
            await store.emails.get_email(conn, stranger, mail.id)
