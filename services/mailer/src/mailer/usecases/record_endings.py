"""Writes how tries ended, tells the world, and forgets what was secret: all of it in one transaction, or none."""

from collections.abc import Sequence
from datetime import datetime

from bus.outbox import Telling, erase_body, tell_many
from chassis.db import Connection
from mailer import store
from mailer.domain.emails import Claim, Ending, Status, event_of
from mailer.domain.identifiers import new_id
from mailer.domain.suppressions import normal_form


async def record_endings(conn: Connection, ended: Sequence[tuple[Claim, Ending]], *, now: datetime) -> int:
    """Records the endings, in the caller's platform transaction; returns how many were the caller's to record.

    A claim whose lease ran out and that another has taken since leaves no trace: no row, no event, no suppression.
    """
    written = await store.emails.mark_ended(conn, ended)
    mine = [(claim, ending) for claim, ending in ended if claim.id in written]
    await tell_many(
        conn,
        [
            Telling(
                event=event_of(claim, ending, now=now),
                aggregate_id=claim.id,
                tenant_id=claim.tenant_id,
                version=claim.fence,  # it grows by each try, and a try has one ending
                traceparent=claim.traceparent,
            )
            for claim, ending in mine
        ],
    )
    await _suppress(conn, [(claim, ending) for claim, ending in mine if ending.suppress], now)
    for claim, ending in mine:
        if claim.secret_variables and claim.job_id and ending.status is not Status.DEFERRED:
            await erase_body(conn, claim.job_id)
    return len(mine)


async def _suppress(conn: Connection, bounced: Sequence[tuple[Claim, Ending]], now: datetime) -> None:
    if not bounced:
        return
    await store.suppressions.insert_bounced(
        conn,
        [claim.tenant_id for claim, _ in bounced],
        [new_id(now) for _ in bounced],
        [normal_form(claim.to_email) for claim, _ in bounced],
        [ending.reason or "" for _, ending in bounced],
        [claim.id for claim, _ in bounced],
        now,
    )
