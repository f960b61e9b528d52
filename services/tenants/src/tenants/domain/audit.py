"""The chain of the audit log: each entry's hash covers the one before it and all that the entry says."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

GENESIS: Final = bytes(32)


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One row of audit_log. `sealed` holds what is personal, under its subject's key."""

    tenant_id: UUID
    seq: int
    id: UUID
    at: datetime
    action: str
    actor: dict[str, Any]
    targets: list[dict[str, Any]]
    context: dict[str, Any]
    metadata: dict[str, Any]
    subject_ref: UUID | None
    sealed: bytes | None
    prev_hash: bytes
    hash: bytes


def canonical(value: Any) -> bytes:
    """JSON in one spelling only (RFC 8785 for what an entry can hold: no floats): sorted keys, no blanks, UTF-8.

    Raises ValueError for a float, whose spelling RFC 8785 takes from ECMAScript.
    """
    _refuse_floats(value)
    # RFC 8785 sorts by UTF-16 code units; that is what this order is for keys of the Basic Multilingual Plane.
    return json.dumps(_sorted(value), ensure_ascii=False, separators=(",", ":")).encode()


def hash_of(entry: AuditEntry) -> bytes:
    """The hash that the entry must have: SHA-256 over the previous hash and the entry's canonical JSON."""
    said = {
        "tenant_id": str(entry.tenant_id),
        "seq": entry.seq,
        "id": str(entry.id),
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "action": entry.action,
        "actor": entry.actor,
        "targets": entry.targets,
        "context": entry.context,
        "metadata": entry.metadata,
        "subject_ref": str(entry.subject_ref) if entry.subject_ref else None,
        "sealed": entry.sealed.hex() if entry.sealed else None,
    }
    return hashlib.sha256(entry.prev_hash + canonical(said)).digest()


def first_break(entries: list[AuditEntry], *, after_seq: int, prev_hash: bytes) -> int | None:
    """The number of the first entry that is missing, reordered or changed; None when they continue the chain."""
    expected, previous = after_seq + 1, prev_hash
    for entry in entries:
        if entry.seq != expected or entry.prev_hash != previous or hash_of(entry) != entry.hash:
            return expected
        expected, previous = expected + 1, entry.hash
    return None


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=lambda name: name.encode("utf-16-be"))}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    return value


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        raise ValueError("an audit entry holds no float")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        _refuse_floats(item)
