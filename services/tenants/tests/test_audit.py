"""The audit log: chained, without gaps, unchangeable, readable by who may, and whole after somebody is forgotten."""

import asyncio
import contextlib
import csv
import io
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.envelope import Envelope
from bus.outbox import republish, tell
from chassis.db import Database, platform_transaction, transaction
from chassis.secrets import SecretBox
from contracts import catalogue, mailer
from contracts.audit import AuditActor, AuditContext, AuditRecord, AuditTarget
from contracts.tenants import AuditRecorded
from tenants import store
from tenants.domain.audit import GENESIS, AuditEntry, canonical, first_break, hash_of
from tenants.events import audit_handlers
from tenants.usecases.append_record import append_record
from tenants.usecases.open_entries import open_entries
from tenants.usecases.record_audit import record_audit
from tenants.usecases.verify_audit import verify_audit
from testkit.databases import database_name
from testkit.service import RunningService, until

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
Start = Callable[..., Awaitable[RunningService]]


def record(tenant_id: UUID, **fields: Any) -> AuditRecorded:
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "action": "user.signed_in",
        "occurred_at": NOW,
        "actor": AuditActor(type="user", id="u1", name="Ana"),
        "targets": (AuditTarget(type="user", id="u1", name="Ana"),),
        "context": AuditContext(location="203.0.113.9", user_agent="curl"),
        "metadata": {"plan": "pro", "seats": 3},
        "subject_ref": UUID(int=7),
    }
    return AuditRecorded(**values | fields)


async def append(db: Database, box: SecretBox, told: AuditRecorded, event_id: UUID | None = None) -> AuditEntry | None:
    async with platform_transaction(db) as conn:
        return await record_audit(conn, told, event_id=event_id or uuid4(), service="tenants", box=box, now=NOW)


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.none() | st.booleans()))
def test_one_value_has_one_spelling(value: dict[str, Any]) -> None:
    shuffled = dict(reversed(list(value.items())))
    assert canonical(value) == canonical(shuffled)
    assert msgspec.json.decode(canonical(value)) == value


def test_keys_are_in_the_order_of_utf16() -> None:
    """RFC 8785, 3.2.3: an emoji (a surrogate pair, D83D...) comes before U+FB33."""
    assert canonical({"\ufb33": 1, "\U0001f600": 2}).decode() == '{"\U0001f600":2,"\ufb33":1}'
    with pytest.raises(ValueError, match="float"):
        canonical({"a": [0.1]})


async def test_fifty_at_once_are_numbered_without_gaps(db: Database, box: SecretBox, tenant: UUID) -> None:
    await asyncio.gather(*(append(db, box, record(tenant)) for _ in range(50)))
    other = uuid4()
    await append(db, box, record(other))
    async with transaction(db, tenant) as conn:
        entries = await store.audit.list_in_order(conn, tenant, after_seq=0, limit=100)
    assert [entry.seq for entry in entries] == list(range(1, 51))
    assert first_break(entries, after_seq=0, prev_hash=GENESIS) is None
    verdict = await verify_audit(db, tenant)
    assert (verdict.is_whole, verdict.entries, verdict.head_seq) == (True, 50, 50)
    assert (await verify_audit(db, other)).entries == 1


async def test_what_is_rolled_back_leaves_no_gap(db: Database, box: SecretBox, tenant: UUID) -> None:
    async def attempt(number: int) -> None:
        with contextlib.suppress(RuntimeError):
            async with platform_transaction(db) as conn:
                await record_audit(conn, record(tenant), event_id=uuid4(), service="tenants", box=box, now=NOW)
                if number % 2:
                    raise RuntimeError("its transaction failed")

    await asyncio.gather(*(attempt(number) for number in range(30)))
    verdict = await verify_audit(db, tenant)
    assert (verdict.is_whole, verdict.entries, verdict.head_seq) == (True, 15, 15)


@pytest.mark.parametrize(
    ("tampering", "broken_at"),
    [
        ("UPDATE audit_log SET action = 'nothing.happened' WHERE seq = 2", 2),
        ("UPDATE audit_log SET metadata = '{}' WHERE seq = 3", 3),
        ("UPDATE audit_log SET sealed = NULL WHERE seq = 1", 1),
        ("UPDATE audit_log SET subject_ref = gen_random_uuid() WHERE seq = 1", 1),
        ("UPDATE audit_log SET at = at + interval '1 microsecond' WHERE seq = 1", 1),
        ("DELETE FROM audit_log WHERE seq = 1", 1),
        ("DELETE FROM audit_log WHERE seq = 2", 2),
        ("DELETE FROM audit_log WHERE seq = 3", 3),
        ("DELETE FROM audit_log", 1),
        ("UPDATE audit_heads SET hash = sha256('x')", 3),
        ("UPDATE audit_heads SET seq = 2", 2),
        ("DELETE FROM audit_heads", 1),
    ],
)
async def test_whoever_switches_the_trigger_off_is_found_out(
    db: Database, box: SecretBox, tenant: UUID, postgres_url: str, tampering: str, broken_at: int
) -> None:
    """A superuser can; the chain tells."""
    for _ in range(3):
        await append(db, box, record(tenant))
    assert (await verify_audit(db, tenant)).is_whole
    owner = await asyncpg.connect(postgres_url, database=await db.platform.fetchval("SELECT current_database()"))
    try:
        await owner.execute(f"SET search_path = tenants; ALTER TABLE audit_log DISABLE TRIGGER USER; {tampering}")
    finally:
        await owner.close()
    verdict = await verify_audit(db, tenant)
    assert (verdict.is_whole, verdict.broken_at) == (False, broken_at)


async def test_what_is_added_while_it_is_verified_breaks_nothing(db: Database, box: SecretBox, tenant: UUID) -> None:
    await append(db, box, record(tenant))

    async def add() -> None:
        for _ in range(40):
            await append(db, box, record(tenant))

    adding = asyncio.create_task(add())
    while not adding.done():
        assert (await verify_audit(db, tenant)).is_whole
    await adding


async def test_a_redelivered_record_is_one_entry(db: Database, box: SecretBox, tenant: UUID) -> None:
    event_id = uuid4()
    assert await append(db, box, record(tenant), event_id) is not None
    assert await append(db, box, record(tenant), event_id) is None
    assert (await verify_audit(db, tenant)).entries == 1


async def test_a_record_for_another_tenant_than_its_events_is_refused(
    db: Database, box: SecretBox, tenant: UUID
) -> None:
    envelope = Envelope(
        specversion="1.0",
        id=uuid4(),
        source="/tenants",
        type="tenants.audit.recorded.v1",
        time=NOW,
        data=msgspec.Raw(b"{}"),
        tenantid=uuid4(),
    )
    async with platform_transaction(db) as conn:
        with pytest.raises(ValueError, match="tenant"):
            await append_record(conn, record(tenant), envelope, box=box, now=NOW)


def _rehashed(entry: AuditEntry) -> AuditEntry:
    """A forger's entry with a hash of its own: the next one gives it away."""
    changed = msgspec.structs.replace(entry, actor={"type": "user", "id": "eve"})
    return msgspec.structs.replace(changed, hash=hash_of(changed))


@pytest.mark.parametrize("change", ["UPDATE audit_log SET action = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"])
async def test_nobody_changes_it_not_even_its_owner(
    db: Database, box: SecretBox, tenant: UUID, postgres_url: str, change: str
) -> None:
    await append(db, box, record(tenant))
    for pool in (db.app, db.platform):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(change)
    name = await db.platform.fetchval("SELECT current_database()")
    assert database_name(postgres_url) != name
    owner = await asyncpg.connect(postgres_url, database=name)
    try:
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await owner.execute(f"SET search_path = tenants; {change}")
        await owner.execute("SET session_replication_role = replica")
        with pytest.raises(asyncpg.RestrictViolationError):
            await owner.execute(f"SET search_path = tenants; {change}")
    finally:
        await owner.close()


@pytest.mark.parametrize(
    "forgery",
    [
        lambda entries: [*entries[:1], *entries[2:]],
        lambda entries: [entries[1], entries[0], *entries[2:]],
        lambda entries: [entries[0], msgspec.structs.replace(entries[1], action="nothing.happened"), *entries[2:]],
        lambda entries: [entries[0], msgspec.structs.replace(entries[1], at=NOW.replace(year=2025)), *entries[2:]],
        lambda entries: [entries[0], _rehashed(entries[1]), *entries[2:]],
    ],
)
async def test_a_forged_chain_is_found(
    db: Database, box: SecretBox, tenant: UUID, forgery: Callable[[list[AuditEntry]], list[AuditEntry]]
) -> None:
    for _ in range(4):
        await append(db, box, record(tenant))
    async with transaction(db, tenant) as conn:
        entries = await store.audit.list_in_order(conn, tenant, after_seq=0, limit=10)
    assert first_break(forgery(entries), after_seq=0, prev_hash=GENESIS) in (1, 2, 3)


async def test_a_forgotten_subject_leaves_the_chain_whole(db: Database, box: SecretBox, tenant: UUID) -> None:
    entry = await append(db, box, record(tenant))
    assert entry is not None
    stored = msgspec.json.encode([entry.actor, entry.targets, entry.context, entry.metadata]).decode()
    assert "Ana" not in stored
    assert "203.0.113.9" not in stored
    async with transaction(db, tenant) as conn:
        assert await open_entries(conn, tenant, [entry], box=box) == [
            {"actor_name": "Ana", "location": "203.0.113.9", "user_agent": "curl", "target_names": ["Ana"]}
        ]
        await store.audit.delete_subject_key(conn, tenant, UUID(int=7))
        assert await open_entries(conn, tenant, [entry], box=box) == [{"erased": True}]
    assert (await verify_audit(db, tenant)).is_whole


async def test_metadata_is_bounded(db: Database, box: SecretBox, tenant: UUID) -> None:
    wild = {f"{'k' * 60}{number}": "v" * 900 for number in range(80)} | {"price": 0.1}
    entry = await append(db, box, record(tenant, metadata={"price": 0.1, "deep": {"a": [1]}} | wild))
    assert entry is not None
    assert len(entry.metadata) <= 50
    assert all(len(key) <= 40 for key in entry.metadata)
    assert entry.metadata["price"] == "0.1"
    assert entry.metadata["deep"] == '{"a":[1]}'


async def test_over_http(start: Start, tenant: UUID) -> None:
    tenants = await start()
    for index in range(3):
        async with transaction(tenants.db, tenant) as conn:
            told = record(tenant, action=f"thing.done_{index}", metadata={"cell": "=1+1"})
            await tell(conn, told, tenant_id=tenant, aggregate_id=tenant)

    async def listed() -> list[Any]:
        answer = await tenants.call("GET", "/audit", tenant, "audit:read")
        assert answer.status_code == 200, answer.text
        found: list[Any] = answer.json()["data"]
        return found

    async def three() -> bool:
        return len(await listed()) == 3

    await until(three)
    entries = await listed()
    assert [entry["seq"] for entry in entries] == [3, 2, 1]
    assert entries[0]["personal"]["actor_name"] == "Ana"
    narrowed = await tenants.call("GET", f"/audit?action={entries[1]['action']}&target=u1", tenant, "audit:read")
    assert [entry["seq"] for entry in narrowed.json()["data"]] == [2]
    page = (await tenants.call("GET", "/audit?limit=2", tenant, "audit:read")).json()
    assert page["next_before"] == 2
    rest = (await tenants.call("GET", "/audit?limit=2&before=2", tenant, "audit:read")).json()
    assert ([entry["seq"] for entry in rest["data"]], rest["next_before"]) == ([1], None)
    verdict = (await tenants.call("GET", "/audit/verification", tenant, "audit:read")).json()
    assert (verdict["is_whole"], verdict["entries"]) == (True, 3)
    export = await tenants.call("GET", "/audit/export", tenant, "audit:read", headers={"Accept": "text/csv"})
    rows = list(csv.reader(io.StringIO(export.text)))
    assert len(rows) == 4
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    seed = (await tenants.call("GET", "/users/audit-logs", tenant, "audit:read")).json()
    assert (seed["success"], len(seed["data"]["logs"])) == (True, 3)
    for path in ("/audit", "/audit/verification", "/audit/export", "/users/audit-logs"):
        assert (await tenants.http.get(path)).status_code == 401
        assert (await tenants.call("GET", path, tenant, "users:read")).status_code == 403
    assert (await tenants.call("GET", "/audit", uuid4(), "audit:read")).json()["data"] == []
    for bad in ("?before=0", "?limit=0", "?since=yesterday", "?color=red", "?target=%00"):
        assert (await tenants.call("GET", f"/audit{bad}", tenant, "audit:read")).status_code in (400, 422), bad


async def test_a_time_without_a_zone_is_in_utc_wherever_the_service_runs(
    start: Start, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenants = await start()
    async with transaction(tenants.db, tenant) as conn:
        await tell(conn, record(tenant), tenant_id=tenant, aggregate_id=tenant)

    async def found(query: str) -> list[Any]:
        entries: list[Any] = (await tenants.call("GET", f"/audit{query}", tenant, "audit:read")).json()["data"]
        return entries

    await until(lambda: found(""))
    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    time.tzset()
    try:
        assert len(await found("?since=2026-05-04T11:59:00&until=2026-05-04T12:01:00")) == 1
        assert await found("?since=2026-05-04T12:01:00") == []
        assert await found("?until=2026-05-04T11:59:00") == []
    finally:
        monkeypatch.undo()
        time.tzset()


def test_whichever_service_tells_a_record_is_listened_to(box: SecretBox) -> None:
    told = {event for event in catalogue.EVENTS if issubclass(event, AuditRecord)}
    assert mailer.AuditRecorded in told
    assert {handler.event for handler in audit_handlers(box, lambda: NOW)} == told


async def test_what_the_mailer_tells_twice_is_one_entry(start: Start, tenant: UUID) -> None:
    """From its exchange to the log, over the broker; the second time the inbox has forgotten the first."""
    tenants = await start()
    person = uuid4()
    told = mailer.AuditRecorded(
        tenant_id=tenant,
        action="email_settings.updated",
        occurred_at=NOW,
        actor=AuditActor(type="user", id=str(person)),
        targets=(AuditTarget(type="email_settings", id="s1"),),
        context=AuditContext(location="203.0.113.9", user_agent="curl"),
        metadata={"changed": "smtp_host, smtp_pass"},
        subject_ref=person,
    )
    async with platform_transaction(tenants.db) as conn:
        event_id = await tell(conn, told, tenant_id=tenant, aggregate_id=tenant)

    async def heard() -> bool:
        async with platform_transaction(tenants.db) as conn:
            return bool(await conn.fetchval("SELECT EXISTS (SELECT FROM inbox WHERE message_id = $1)", str(event_id)))

    async def sent_again() -> bool:
        """False while the relay has not noted yet that it published the row, which can be after it was heard."""
        async with platform_transaction(tenants.db) as conn:
            return await republish(conn, since=NOW.replace(year=2020), type="mailer.audit.recorded.v1") == 1

    await until(heard)
    async with platform_transaction(tenants.db) as conn:
        await conn.execute("DELETE FROM inbox")
    await until(sent_again)
    await until(heard)
    [entry] = (await tenants.call("GET", "/audit", tenant, "audit:read")).json()["data"]
    assert (entry["seq"], entry["action"]) == (1, "email_settings.updated")
    assert entry["context"]["service"] == "mailer"
    assert entry["actor"] == {"type": "user", "id": str(person)}
    assert entry["metadata"] == {"changed": "smtp_host, smtp_pass"}
    assert (entry["personal"]["location"], entry["personal"]["user_agent"]) == ("203.0.113.9", "curl")
