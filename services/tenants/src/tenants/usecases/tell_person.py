"""Says anew what a person is in every tenant, after something changed that is the person's own."""

from datetime import datetime

import msgspec

from bus.outbox import tell
from chassis.db import Connection
from contracts.tenancy import PLATFORM_TENANT_ID
from contracts.tenants import UserCreated, UserDisabled, UserUpdated
from tenants import store
from tenants.domain.people import User, UserStatus, user_event
from tenants.domain.sign_in import GUEST, SUPERADMIN


async def tell_person(
    conn: Connection, user: User, *, now: datetime, everywhere: bool = False, is_new: bool = False
) -> None:
    """One event for each membership; for whoever has a seat without a tenant, one of the nil tenant.

    That one is about the person everywhere; `everywhere` tells it of anybody, `is_new` that
    nobody was told of them yet. The memberships' versions grow, so that
    nobody drops the event as old. For a platform transaction that holds the user's row: persons are locked before their
    memberships, everywhere.
    """
    belongings = await store.users.list_belongings(conn, user.id)
    for one in belongings:
        before = await store.memberships.lock_membership(conn, one.tenant.tenant_id, user.id)
        if before is None:
            continue
        after = msgspec.structs.replace(before, version=before.version + 1, updated_at=now)
        await store.memberships.update_membership(conn, after.tenant_id, after)
        event = user_event(before, after, user=user, tokens_valid_from=user.tokens_valid_from, now=now)
        assert event is not None
        await tell(conn, event, tenant_id=after.tenant_id, aggregate_id=user.id, version=after.version)
    if everywhere or user.is_platform_admin or not belongings:
        is_out = user.status in (UserStatus.INACTIVE, UserStatus.SUSPENDED)
        kind = UserDisabled if is_out else UserCreated if is_new else UserUpdated
        event = kind(
            tenant_id=PLATFORM_TENANT_ID,
            user_id=user.id,
            email=user.email or "",
            name=user.name,
            role=SUPERADMIN if user.is_platform_admin else GUEST,
            status=user.status.value,
            tokens_valid_from=user.tokens_valid_from,
            occurred_at=now,
        )
        await tell(conn, event, tenant_id=PLATFORM_TENANT_ID, aggregate_id=user.id, version=user.version)
