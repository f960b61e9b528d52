"""Requests about a person's data: the log forgets or tells, once each, and nobody else's mails are touched."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec

from bus import dead_letters
from bus.messages import Incoming
from bus.outbox import TOMBSTONE
from chassis.db import Database, platform_transaction
from chassis.secrets import SecretBox
from chassis.settings import Secret
from contracts.mailer import MAIL_QUEUE
from contracts.tenancy import PLATFORM_TENANT_ID
from contracts.tenants import ErasureRequested, ExportRequested
from mailer import store
from mailer.usecases.erase_recipient import erase_recipient
from mailer.usecases.export_recipient import export_recipient

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


async def test_an_erasure_blanks_the_persons_mails_and_stops_what_waits(
    db: Database, tenant: UUID, make_mail: Any
) -> None:
    other = uuid4()
    mails = [
        make_mail(tenant, to_email="Ana@Example.com", to_name="Ana"),
        make_mail(PLATFORM_TENANT_ID, to_email="ana@example.com"),
        make_mail(tenant, to_email="eva@example.com"),
        make_mail(other, to_email="ana@example.com"),
    ]
    request = ErasureRequested(
        erasure_id=uuid4(), tenant_id=tenant, user_id=uuid4(), email="ana@example.com", occurred_at=NOW
    )
    async with platform_transaction(db) as conn:
        await store.emails.insert_queued(conn, mails)
        assert await erase_recipient(conn, request, now=NOW) == 2
        assert await erase_recipient(conn, request, now=NOW) == 0  # redelivered
        mine, platforms, evas, others = [await store.emails.get_email(conn, mail.tenant_id, mail.id) for mail in mails]
    for erased in (mine, platforms):
        assert (erased.to_email, erased.to_name, erased.variables) == ("erased@invalid", None, {})
        assert (erased.status, erased.reason) == ("failed", "its recipient was erased")
    assert (evas.to_email, others.to_email) == ("eva@example.com", "ana@example.com")
    assert evas.status == others.status == "queued"


async def test_an_erasure_reaches_jobs_that_could_not_be_taken(db: Database, tenant: UUID) -> None:
    """They hold the address and the data in clear, and a replay would write to the person."""
    to = {
        "alone": "Ana <Ana@example.com>",
        "among": [{"email": "ana@example.com"}, "eva@example.com"],
        "evas": ["eva@example.com", "hosana@example.com"],
    }
    jobs: dict[str, Any] = {
        name: {"to": given, "template": "later", "variables": {"about": "ana@example.com"}, "tenant_id": str(tenant)}
        for name, given in to.items()
    }
    jobs["platforms"] = {"recipient": "ana@example.com, eva@example.com", "template": "welcome"}
    jobs["others"] = {**jobs["alone"], "tenantId": str(uuid4()), "tenant_id": None}
    dead = {
        name: Incoming(queue=MAIL_QUEUE, body=msgspec.json.encode(job), delivery_tag=1, key=b"", message_id=name)
        for name, job in jobs.items()
    }
    dead["torn"] = Incoming(
        queue=MAIL_QUEUE, body=b'{"to": "ana@example.com", ', delivery_tag=1, key=b"", message_id="torn"
    )
    request = ErasureRequested(
        erasure_id=uuid4(), tenant_id=tenant, user_id=uuid4(), email="ana@example.com", occurred_at=NOW
    )
    async with platform_transaction(db) as conn:
        await dead_letters.insert(conn, MAIL_QUEUE, list(dead.values()))
        assert await erase_recipient(conn, request, now=NOW) == 4
        assert await erase_recipient(conn, request, now=NOW) == 0  # redelivered
        rows = await conn.fetch("SELECT message_id, body, erased_at IS NOT NULL AS is_erased FROM dead_letters")
    left = {row["message_id"]: row for row in rows}
    assert {name for name, row in left.items() if row["is_erased"]} == {"alone", "platforms", "torn"}
    assert {left[name]["body"] for name in ("alone", "platforms", "torn")} == {TOMBSTONE}
    assert msgspec.json.decode(left["among"]["body"]) == {**jobs["among"], "to": ["eva@example.com"]}
    for name in ("evas", "others"):
        assert left[name]["body"] == dead[name].body


async def test_an_export_is_sealed_and_tells_one_tenants_mails(db: Database, tenant: UUID, make_mail: Any) -> None:
    box = SecretBox(Secret("a-key-of-the-tests-that-is-long-enough"))
    request = ExportRequested(
        export_id=uuid4(), tenant_id=tenant, user_id=uuid4(), email="ana@example.com", occurred_at=NOW
    )
    async with platform_transaction(db) as conn:
        mails = [make_mail(tenant, to_email="Ana@example.com"), make_mail(uuid4(), to_email="ana@example.com")]
        await store.emails.insert_queued(conn, mails)
        await export_recipient(conn, request, box=box, now=NOW)
        body = await conn.fetchval("SELECT body FROM outbox WHERE type = 'mailer.privacy.exported.v1'")
    assert b"ana@example.com" not in body.lower()
    data = msgspec.json.decode(body)["data"]
    sealed = msgspec.convert(data["sealed"], bytes, strict=False)
    told = msgspec.json.decode(box.open(sealed, tenant, "privacy_exports", request.export_id))
    assert [mail["to_email"] for mail in told["emails"]] == ["Ana@example.com"]
