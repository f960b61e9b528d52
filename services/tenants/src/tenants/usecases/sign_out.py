"""Ends a sign-in, or all of a person's."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from contracts.errors import Unauthenticated
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.domain.actors import actor_for, target_for
from tenants.domain.callers import Caller
from tenants.domain.tokens import sha256_of
from tenants.usecases.call_back_tokens import call_back_tokens
from tenants.usecases.tell_audit import tell_audit


async def sign_out(
    conn: Connection,
    *,
    refresh_token: str | None,
    user_id: UUID | None,
    tenant_id: UUID | None,
    everywhere: bool,
    caller: Caller,
    now: datetime,
) -> None:
    """The refresh token's sign-in has ended; without a token, every sign-in of `user_id`, who is known to be calling.

    `everywhere` ends them all and calls their access tokens back as well; it takes a live token or a known caller, and
    raises Unauthenticated without. A token that is unknown or ended is no error: whoever shows it is signed out. In a
    platform transaction.
    """
    found = await store.sessions.find_family_of_token(conn, sha256_of(refresh_token)) if refresh_token else None
    owner = user_id
    if found is not None and (not everywhere or (found[1] is None and found[0].is_live(now))):
        owner, tenant_id = found[0].user_id, found[0].tenant_id
    user = None if owner is None else await store.users.find_user(conn, owner)
    if everywhere:
        if user is None:
            raise Unauthenticated("Sign in first.")
        await call_back_tokens(conn, await store.users.lock_user(conn, user.id), why="signed_out_everywhere", now=now)
    elif user is None or (refresh_token and found is None):
        return
    elif found is not None:
        await store.sessions.mark_family_revoked(conn, found[0].id, "signed_out", now)
    else:
        await store.sessions.mark_families_revoked(conn, user.id, "signed_out", now)
    await tell_audit(
        conn,
        tenant_id or PLATFORM_TENANT_ID,
        "user.signed_out",
        actor=actor_for(user),
        targets=[target_for(user)],
        caller=caller,
        subject_id=user.id,
        now=now,
        everywhere=everywhere,
    )
