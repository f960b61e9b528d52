"""Writes what a person is in a tenant, and tells it: the one way in which a membership is ever made or changed."""

from datetime import datetime

import msgspec

from bus.outbox import tell
from chassis.db import Connection
from tenants import store
from tenants.domain.people import Membership, User, new_valid_from, user_event


async def save_membership(
    conn: Connection, before: Membership | None, after: Membership, *, user: User, now: datetime
) -> Membership:
    """`after`, stored; `before` is the locked row, None for a new one. For a platform transaction: it touches the user.

    Whoever loses something by it (role, permissions, status) has to sign in or refresh anew: tokens issued so far are
    called back, by a whole second, since that is what a token's `iat` can tell.
    """
    if before == after:
        return after
    stored = after if before is None else msgspec.structs.replace(after, version=before.version + 1, updated_at=now)
    valid_from = user.tokens_valid_from
    if before is None:
        await store.memberships.insert_membership(conn, stored.tenant_id, stored)
    else:
        await store.memberships.update_membership(conn, stored.tenant_id, stored)
        if (before.role, before.permissions, before.status) != (stored.role, stored.permissions, stored.status):
            valid_from = new_valid_from(user, now)
            await store.users.update_user(
                conn,
                msgspec.structs.replace(user, tokens_valid_from=valid_from, version=user.version + 1, updated_at=now),
            )
    event = user_event(before, stored, user=user, tokens_valid_from=valid_from, now=now)
    if event is not None:
        await tell(conn, event, tenant_id=stored.tenant_id, aggregate_id=stored.user_id, version=stored.version)
    return stored
