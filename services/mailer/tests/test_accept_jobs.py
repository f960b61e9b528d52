"""Intake: each job once, whatever is delivered twice, and nothing of a batch that cannot be whole."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from bus.messages import Incoming
from chassis.db import Database, platform_transaction
from chassis.secrets import SecretBox
from chassis.settings import Secret
from contracts.errors import Invalid, Malformed
from mailer.usecases.accept_jobs import accept_jobs

BOX = SecretBox(Secret("a-key-for-the-tests-of-the-mailer"))
WELCOME = {"to": "ana@example.com", "template": "welcome", "variables": {"name": "Ana"}}


def message(body: Any, message_id: str | None = None) -> Incoming:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Incoming(queue="mail_queue", body=raw, delivery_tag=1, key=b"", message_id=message_id)


async def accept(db: Database, messages: Sequence[Incoming]) -> int:
    async with platform_transaction(db) as conn:
        return await accept_jobs(
            conn,
            messages,
            box=BOX,
            now=datetime.now(UTC),
            default_locale="pt-BR",
            message_id_domain="mailer.test",
        )


async def count(db: Database) -> int:
    async with platform_transaction(db) as conn:
        found: int = await conn.fetchval("SELECT count(*) FROM emails")
        return found


async def test_a_job_delivered_five_times_to_four_consumers_is_one_mail(db: Database) -> None:
    jobs = [message({**WELCOME, "idempotency_key": f"k-{n % 20}"}, f"m-{n}") for n in range(100)]

    async def consume(shift: int) -> int:
        turned = jobs[shift:] + jobs[:shift]
        return sum([await accept(db, turned[start : start + 7]) for start in range(0, 100, 7)])

    assert sum(await asyncio.gather(*(consume(shift) for shift in (0, 25, 50, 75)))) == 20
    assert await count(db) == 20


async def test_without_a_key_the_message_id_counts_and_without_both_each_is_a_mail(db: Database) -> None:
    assert await accept(db, [message(WELCOME, "m-1"), message(WELCOME, "m-1"), message(WELCOME, "m-2")]) == 2
    assert await accept(db, [message(WELCOME, "m-2")]) == 0
    assert await accept(db, [message(WELCOME), message(WELCOME)]) == 2


async def test_a_key_is_its_tenants_own(db: Database) -> None:
    jobs = [message({**WELCOME, "idempotency_key": "k", "tenant_id": str(UUID(int=n))}) for n in (1, 2, 1)]
    assert await accept(db, jobs) == 2


@pytest.mark.parametrize(
    ("bad", "error"),
    [(b"{", Malformed), ({**WELCOME, "to": "x"}, Invalid), ({**WELCOME, "template": "nowhere"}, Invalid)],
)
async def test_a_batch_with_a_bad_job_leaves_nothing_behind(db: Database, bad: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        await accept(db, [message(WELCOME, "good"), message(bad, "bad")])
    assert await count(db) == 0
    assert await accept(db, [message(WELCOME, "good")]) == 1, "the inbox remembers a job whose batch failed"


async def test_an_unknown_template_says_so(db: Database) -> None:
    with pytest.raises(Invalid, match="there is no template 'nowhere'"):
        await accept(db, [message({**WELCOME, "template": "nowhere"})])


async def test_secrets_are_sealed_for_their_row(db: Database) -> None:
    job = {"to": ["a@example.com", "b@example.com"], "template": "password_reset"}
    assert await accept(db, [message({**job, "variables": {"name": "Ana", "link": "https://canary"}})]) == 2
    async with platform_transaction(db) as conn:
        rows = await conn.fetch("SELECT id, tenant_id, variables::text, secret_variables FROM emails")
    for row in rows:
        assert msgspec.json.decode(row["variables"]) == {"name": "Ana", "link": "********"}
        opened = BOX.open(row["secret_variables"], row["tenant_id"], "emails", row["id"])
        assert msgspec.json.decode(opened) == {"link": "https://canary"}
    assert rows[0]["secret_variables"] != rows[1]["secret_variables"]
