"""Appends to a tenant's audit log: numbered without gaps, chained, what is personal sealed under its subject's key."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from chassis.db import Connection
from chassis.secrets import SecretBox
from chassis.settings import Secret
from contracts.audit import AuditRecord
from tenants import store
from tenants.domain.audit import AuditEntry, hash_of
from tenants.domain.tokens import new_token

_TABLE: Final = "subject_keys"
_MAX_KEYS: Final = 50
_MAX_KEY_CHARS: Final = 40
_MAX_VALUE_CHARS: Final = 500


async def record_audit(
    conn: Connection, record: AuditRecord, *, event_id: UUID, service: str, box: SecretBox, now: datetime
) -> AuditEntry | None:
    """The new entry; None where the event stands in the log already. In the tenant's transaction.

    The head of the chain is locked until it ends, so entries of one tenant wait for each other, those of two do not.
    """
    tenant_id = record.tenant_id
    seq, prev_hash = await store.audit.lock_head(conn, tenant_id)
    if await store.audit.has_entry(conn, tenant_id, event_id):
        return None
    entry = AuditEntry(
        tenant_id=tenant_id,
        seq=seq + 1,
        id=event_id,
        at=record.occurred_at,
        action=record.action,
        actor={"type": record.actor.type, "id": record.actor.id},
        targets=[{"type": target.type, "id": target.id} for target in record.targets],
        context={"service": service},
        metadata=_bounded(record.metadata),
        subject_ref=record.subject_ref,
        sealed=await _seal(conn, record, event_id, box, now),
        prev_hash=prev_hash,
        hash=bytes(32),
    )
    entry = msgspec.structs.replace(entry, hash=hash_of(entry))
    await store.audit.insert_entry(conn, tenant_id, entry)
    return entry


async def _seal(conn: Connection, record: AuditRecord, event_id: UUID, box: SecretBox, now: datetime) -> bytes | None:
    """What is personal, under the subject's key; without a subject it is left out, since nobody could ever erase it."""
    personal: dict[str, Any] = {
        "actor_name": record.actor.name,
        "location": record.context.location,
        "user_agent": record.context.user_agent,
        "target_names": [target.name for target in record.targets] if any(t.name for t in record.targets) else None,
    }
    told = {name: value for name, value in personal.items() if value is not None}
    if record.subject_ref is None or not told:
        return None
    tenant_id, subject = record.tenant_id, record.subject_ref
    if await store.audit.is_forgotten(conn, tenant_id, subject):
        return None  # told before the erasure, heard after it: a new key would undo it
    fresh = box.seal(new_token(), tenant_id, _TABLE, subject)
    key = box.open(
        await store.audit.claim_subject_key(conn, tenant_id, subject, fresh, now), tenant_id, _TABLE, subject
    )
    return SecretBox(Secret(key)).seal(msgspec.json.encode(told).decode(), tenant_id, "audit_log", event_id)


def _bounded(metadata: dict[str, Any]) -> dict[str, Any]:
    """WorkOS' bounds; numbers beyond whole ones are kept as text, since a float has many spellings."""
    kept: dict[str, Any] = {}
    for name, value in list(metadata.items())[:_MAX_KEYS]:
        if isinstance(value, bool | int) or value is None:
            kept[name[:_MAX_KEY_CHARS]] = value
        else:
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            kept[name[:_MAX_KEY_CHARS]] = text[:_MAX_VALUE_CHARS]
    return kept
