"""Opens what is personal in audit entries, as far as its subject was not forgotten."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from chassis.db import Connection
from chassis.secrets import SecretBox
from chassis.settings import Secret
from tenants import store
from tenants.domain.audit import AuditEntry


async def open_entries(
    conn: Connection, tenant_id: UUID, entries: Sequence[AuditEntry], *, box: SecretBox
) -> list[dict[str, Any]]:
    """Per entry what was sealed in it: {} for nothing, {"erased": True} once its subject was forgotten."""
    keys: dict[UUID, SecretBox | None] = {}
    opened: list[dict[str, Any]] = []
    for entry in entries:
        if entry.sealed is None or entry.subject_ref is None:
            opened.append({})
            continue
        if entry.subject_ref not in keys:
            sealed_key = await store.audit.find_subject_key(conn, tenant_id, entry.subject_ref)
            key = None if sealed_key is None else box.open(sealed_key, tenant_id, "subject_keys", entry.subject_ref)
            keys[entry.subject_ref] = None if key is None else SecretBox(Secret(key))
        subject = keys[entry.subject_ref]
        if subject is None:
            opened.append({"erased": True})
        else:
            opened.append(msgspec.json.decode(subject.open(entry.sealed, tenant_id, "audit_log", entry.id)))
    return opened
