"""SQL over emails: the log that requests read, and the queue that the worker claims from."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from chassis.db import Connection
from contracts.errors import NotFound
from mailer.domain.emails import Claim, Email, Ending, Filter, NewMail
from mailer.domain.identifiers import first_id_at


async def list_emails(
    conn: Connection, tenant_id: UUID, wanted: Filter, *, before: UUID | None, limit: int
) -> list[Email]:
    """The tenant's log, newest first, those before `before`."""
    rows = await conn.fetch(
        """
        SELECT id, tenant_id, status, to_email, to_name, template, locale, variables::text, message_id, attempts,
               due_at, smtp_code, reason, created_at, updated_at, sent_at
        FROM emails
        WHERE tenant_id = $1
          AND ($2::text IS NULL OR status = $2)
          AND ($3::text IS NULL OR lower(to_email) = lower($3))
          AND ($4::text IS NULL OR template = $4)
          AND ($5::uuid IS NULL OR id >= $5)
          AND ($6::uuid IS NULL OR id < $6)
          AND ($7::uuid IS NULL OR id < $7)
        ORDER BY id DESC LIMIT $8
        """,
        tenant_id,
        wanted.status,
        wanted.to_email,
        wanted.template,
        wanted.since and first_id_at(wanted.since),
        wanted.until and first_id_at(wanted.until),
        before,
        limit,
    )
    return [_email(dict(row)) for row in rows]


async def get_email(conn: Connection, tenant_id: UUID, email_id: UUID) -> Email:
    """One mail of the tenant's log. Raises NotFound."""
    row = await conn.fetchrow(
        """
        SELECT id, tenant_id, status, to_email, to_name, template, locale, variables::text, message_id, attempts,
               due_at, smtp_code, reason, created_at, updated_at, sent_at
        FROM emails WHERE tenant_id = $1 AND id = $2
        """,
        tenant_id,
        email_id,
    )
    if row is None:
        raise NotFound("no such e-mail")
    return _email(dict(row))


async def list_of_recipient(conn: Connection, tenant_id: UUID, address: str) -> list[Email]:
    """The tenant's mails to that address, in whatever case it was written, newest first; at most 1,000."""
    rows = await conn.fetch(
        """
        SELECT id, tenant_id, status, to_email, to_name, template, locale, variables::text, message_id, attempts,
               due_at, smtp_code, reason, created_at, updated_at, sent_at
        FROM emails WHERE tenant_id = $1 AND lower(to_email) = lower($2) ORDER BY id DESC LIMIT 1000
        """,
        tenant_id,
        address,
    )
    return [_email(dict(row)) for row in rows]


async def erase_recipient(conn: Connection, tenant_id: UUID, address: str, now: datetime) -> int:
    """Blanks the mails to that address; those that wait are not sent. Returns how many."""
    rows = await conn.fetch(
        """
        UPDATE emails SET to_email = 'erased@invalid', to_name = NULL, variables = '{}', secret_variables = NULL,
               status = CASE WHEN due_at IS NULL THEN status ELSE 'failed' END,
               reason = CASE WHEN due_at IS NULL THEN reason ELSE 'its recipient was erased' END,
               due_at = NULL, updated_at = $3
        WHERE tenant_id = $1 AND lower(to_email) = lower($2) RETURNING id
        """,
        tenant_id,
        address,
        now,
    )
    return len(rows)


async def insert_queued(conn: Connection, mails: Sequence[NewMail]) -> None:
    """Puts mails of any tenants into the queue, due at once."""
    await conn.execute(
        """
        INSERT INTO emails (tenant_id, id, status, to_email, to_name, template, locale, variables, secret_variables,
                            message_id, job_id, traceparent, due_at, created_at, updated_at)
        SELECT tenant_id, id, 'queued', to_email, to_name, template, locale, variables::jsonb, secret_variables,
               message_id, job_id, traceparent, now(), created_at, created_at
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[],
                    $9::text[], $10::text[], $11::text[], $12::timestamptz[])
            AS mail(tenant_id, id, to_email, to_name, template, locale, variables, secret_variables, message_id, job_id,
                    traceparent, created_at)
        """,
        [mail.tenant_id for mail in mails],
        [mail.id for mail in mails],
        [mail.to_email for mail in mails],
        [mail.to_name for mail in mails],
        [mail.template for mail in mails],
        [mail.locale for mail in mails],
        [mail.variables for mail in mails],
        [mail.secret_variables for mail in mails],
        [mail.message_id for mail in mails],
        [mail.job_id for mail in mails],
        [mail.traceparent for mail in mails],
        [mail.created_at for mail in mails],
    )


async def claim_due(
    conn: Connection,
    rooms: Mapping[UUID, int],
    *,
    other_room: int,
    limit: int,
    lease_s: float,
    in_hand: Collection[UUID] = (),
) -> list[Claim]:
    """Marks due mails as being sent, under a lease and a new fence; never those that the claimer still has in hand.

    A lane is the active row of email_settings that a tenant's mail goes out through: its own, else the platform's, else
    the nil UUID. At most its room is claimed, `other_room` where `rooms` does not say. Lanes take turns, tenants take
    turns within a lane, and a tenant's oldest mail comes first, so that no backlog stands in another's way.
    """
    rows = await conn.fetch(
        """
        WITH RECURSIVE waiting (tenant_id) AS (  -- each tenant once, by a jump in the index: a backlog is not read
            (SELECT tenant_id FROM emails WHERE due_at IS NOT NULL ORDER BY tenant_id LIMIT 1)
            UNION ALL
            SELECT (SELECT e.tenant_id FROM emails e
                    WHERE e.due_at IS NOT NULL AND e.tenant_id > w.tenant_id ORDER BY e.tenant_id LIMIT 1)
            FROM waiting w WHERE w.tenant_id IS NOT NULL
        ), laned AS (
            SELECT w.tenant_id, COALESCE(own.id, shared.id, $5) AS lane
            FROM waiting w
            LEFT JOIN email_settings own ON own.tenant_id = w.tenant_id AND own.is_active
            LEFT JOIN email_settings shared ON shared.tenant_id = $5 AND shared.is_active
            WHERE w.tenant_id IS NOT NULL
        ), roomy AS (
            SELECT laned.tenant_id, laned.lane, COALESCE(given.room, $3) AS room
            FROM laned LEFT JOIN unnest($1::uuid[], $2::int[]) AS given(lane, room) USING (lane)
            WHERE COALESCE(given.room, $3) > 0
        ), due AS (
            SELECT roomy.*, e.id, e.due_at,
                   row_number() OVER (PARTITION BY roomy.tenant_id ORDER BY e.due_at, e.id) AS turn
            FROM roomy CROSS JOIN LATERAL (
                SELECT id, due_at FROM emails
                WHERE tenant_id = roomy.tenant_id AND due_at <= now() AND id <> ALL ($7::uuid[])
                ORDER BY due_at LIMIT roomy.room
            ) AS e
        ), ranked AS (
            SELECT *, row_number() OVER (PARTITION BY lane ORDER BY turn, due_at, id) AS place FROM due
        ), chosen AS (
            SELECT tenant_id, id, lane FROM ranked WHERE place <= room ORDER BY place, due_at LIMIT $4
        ), locked AS (
            SELECT e.tenant_id, e.id, chosen.lane
            FROM chosen JOIN emails e USING (tenant_id, id)
            WHERE e.due_at <= now() FOR UPDATE OF e SKIP LOCKED
        )
        UPDATE emails e
        SET status = 'sending', fence = fence + 1, lost_claims = lost_claims + 1,
            due_at = now() + make_interval(secs => $6), updated_at = now()
        FROM locked WHERE e.tenant_id = locked.tenant_id AND e.id = locked.id
        RETURNING e.id, e.tenant_id, locked.lane, e.to_email, e.to_name, e.template, e.locale, e.variables::text,
                  e.secret_variables, e.message_id, e.job_id, e.traceparent, e.attempts, e.lost_claims, e.fence,
                  e.created_at
        """,
        list(rooms.keys()),
        list(rooms.values()),
        other_room,
        limit,
        UUID(int=0),
        lease_s,
        list(in_hand),
    )
    return msgspec.convert([dict(row) for row in rows], list[Claim])


async def extend_leases(conn: Connection, claims: Sequence[Claim], lease_s: float) -> set[UUID]:
    """Keeps claims that take long. Returns the ids of those that are still the claimer's."""
    rows = await conn.fetch(
        """
        UPDATE emails e SET due_at = now() + make_interval(secs => $4)
        FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS claim(tenant_id, id, fence)
        WHERE e.tenant_id = claim.tenant_id AND e.id = claim.id AND e.fence = claim.fence AND e.status = 'sending'
        RETURNING e.id
        """,
        [claim.tenant_id for claim in claims],
        [claim.id for claim in claims],
        [claim.fence for claim in claims],
        lease_s,
    )
    return {row["id"] for row in rows}


async def mark_ended(conn: Connection, ended: Sequence[tuple[Claim, Ending]]) -> set[UUID]:
    """Writes how claims ended. Returns the ids of those written: a claim that is no longer the claimer's is not."""
    rows = await conn.fetch(
        """
        UPDATE emails e
        SET status = v.status, attempts = e.attempts + v.attempted::int, lost_claims = 0,
            due_at = now() + make_interval(secs => v.retry_after_s),
            smtp_code = v.smtp_code, reason = v.reason, updated_at = now(),
            sent_at = CASE WHEN v.status = 'sent' THEN now() END,
            secret_variables = CASE WHEN v.status = 'deferred' THEN e.secret_variables END
        FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::bool[], $6::float8[], $7::int[], $8::text[])
            AS v(tenant_id, id, fence, status, attempted, retry_after_s, smtp_code, reason)
        WHERE e.tenant_id = v.tenant_id AND e.id = v.id AND e.fence = v.fence AND e.status = 'sending'
        RETURNING e.id
        """,
        [claim.tenant_id for claim, _ in ended],
        [claim.id for claim, _ in ended],
        [claim.fence for claim, _ in ended],
        [ending.status for _, ending in ended],
        [ending.attempted for _, ending in ended],
        [ending.retry_after_s for _, ending in ended],
        [ending.smtp_code for _, ending in ended],
        [ending.reason for _, ending in ended],
    )
    return {row["id"] for row in rows}


def _email(row: dict[str, object]) -> Email:
    row["variables"] = msgspec.json.decode(str(row["variables"]))
    return msgspec.convert(row, Email)
