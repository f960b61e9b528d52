"""Recomputes a tenant's chain from its first entry to its last."""

from typing import Final
from uuid import UUID

import msgspec

from chassis.db import Database, transaction
from tenants import store
from tenants.domain.audit import GENESIS, first_break

_BATCH: Final = 1_000


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `broken_at` is the number of the first entry that is missing or changed.

    `head_hash` (hex) is what to keep elsewhere: a chain alone does not tell that its end was cut off.
    """

    is_whole: bool
    entries: int
    broken_at: int | None
    head_seq: int
    head_hash: str


async def verify_audit(db: Database, tenant_id: UUID) -> Verification:
    """The verdict over the entries that stand there now; in short transactions, since nothing ever changes.

    The head is read before the entries, which may become more meanwhile but never fewer: one that is missing at the end
    was cut off. It is read again after them, as it never falls behind them.
    """
    promised_seq, promised_hash = await _head(db, tenant_id)
    seq, previous, broken = 0, GENESIS, None
    while broken is None:
        async with transaction(db, tenant_id) as conn:
            entries = await store.audit.list_in_order(conn, tenant_id, after_seq=seq, limit=_BATCH)
        if not entries:
            break
        broken = first_break(entries, after_seq=seq, prev_hash=previous)
        if broken is None and any(one.seq == promised_seq and one.hash != promised_hash for one in entries):
            broken = promised_seq
        if broken is None:
            seq, previous = entries[-1].seq, entries[-1].hash
    head_seq, head_hash = await _head(db, tenant_id)
    if broken is None and seq < promised_seq:
        broken = seq + 1
    if broken is None and head_seq < seq:
        broken = head_seq + 1
    return Verification(
        is_whole=broken is None, entries=seq, broken_at=broken, head_seq=head_seq, head_hash=head_hash.hex()
    )


async def _head(db: Database, tenant_id: UUID) -> tuple[int, bytes]:
    async with transaction(db, tenant_id) as conn:
        return await store.audit.find_head(conn, tenant_id) or (0, GENESIS)
