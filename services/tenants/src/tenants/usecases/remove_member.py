"""Takes somebody out of a tenant: the one way in which a membership ever ends."""

from datetime import datetime
from uuid import UUID

import msgspec

from bus.outbox import tell
from chassis.db import Connection
from contracts.errors import NotFound
from contracts.tenants import UserDisabled
from tenants import store
from tenants.domain.doers import Doer
from tenants.domain.members import refuse_last_owner
from tenants.domain.people import new_valid_from
from tenants.domain.roles import Powers
from tenants.usecases.find_roles import find_roles
from tenants.usecases.tell_deed import tell_deed


async def remove_member(
    conn: Connection, tenant_id: UUID, user_id: UUID, *, powers: Powers, by: Doer, now: datetime
) -> None:
    """They are not in the tenant any more, and their tokens are called back; the account stays, it is theirs.

    In a platform transaction. Raises NotFound, Forbidden for whoever has more than the caller, Conflict for the last
    owner.
    """
    await store.memberships.get_membership(conn, tenant_id, user_id)
    user = await store.users.lock_user(conn, user_id)
    await store.memberships.lock_owners(conn, tenant_id)
    others = await store.memberships.count_other_owners(conn, tenant_id, user_id)
    before = await store.memberships.lock_membership(conn, tenant_id, user_id)
    if before is None:
        raise NotFound("no such user")
    roles = await find_roles(conn, tenant_id)
    powers.refuse_role(before.role, {*roles.get(before.role, ()), *before.permissions})
    refuse_last_owner(before, None, others)
    await store.memberships.delete_membership(conn, tenant_id, user_id)
    valid_from = new_valid_from(user, now)
    await store.users.update_user(
        conn, msgspec.structs.replace(user, tokens_valid_from=valid_from, version=user.version + 1, updated_at=now)
    )
    await store.sessions.mark_families_revoked(conn, user_id, "member_removed", now, tenant_id)
    if not await store.memberships.list_of_user(conn, user_id):
        await store.links.spend_links(conn, user_id, ["set_password"], now)
    event = UserDisabled(
        tenant_id=tenant_id,
        user_id=user_id,
        email=before.email or "",
        name=before.name,
        role=before.role,
        status="inactive",
        tokens_valid_from=valid_from,
        occurred_at=now,
    )
    await tell(conn, event, tenant_id=tenant_id, aggregate_id=user_id, version=before.version + 1)
    await tell_deed(conn, tenant_id, "user.removed", by=by, kind="user", target_id=user_id, now=now, role=before.role)
