"""Finds whose a provider's object is, by the first of its names that we know."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from billing import store
from billing.domain.providers import Provider
from chassis.db import Database, platform_transaction


class Located(msgspec.Struct, frozen=True):
    """Ours of it: the `kind` of name by which it was found, its tenant, and our object's id."""

    kind: str
    tenant_id: UUID
    object_id: UUID


async def locate_object(
    db: Database, provider: Provider, account_id: UUID, names: Sequence[tuple[str, str | None]]
) -> Located | None:
    """What the first known of `names`, each a directory's kind and an id, stands for at this account; else None.

    Another account's object is not found, whatever reference it bears: an id of ours counts only where we gave it.
    """
    async with platform_transaction(db) as conn:
        for kind, external_id in names:
            if external_id is None:
                continue
            found = await store.directory.find_object(
                conn, provider=provider.value, account_id=account_id, kind=kind, external_id=external_id
            )
            if found is not None:
                return Located(kind, found.tenant_id, found.object_id)
    return None
