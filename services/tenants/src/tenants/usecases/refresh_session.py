"""Rotates a refresh token: each is good for one rotation, and showing a spent one ends the whole sign-in."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection, Database, platform_transaction
from contracts.errors import ServiceError, Unauthenticated
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.access_tokens import AccessTokens
from tenants.domain.actors import ANYBODY, target_for
from tenants.domain.callers import Caller
from tenants.domain.sign_in import Session, require_active
from tenants.domain.tokens import sha256_of
from tenants.store.sessions import Family
from tenants.usecases.choose_seat import choose_seat
from tenants.usecases.issue_tokens import issue_tokens
from tenants.usecases.tell_audit import tell_audit


async def refresh_session(
    db: Database,
    refresh_token: str,
    *,
    tenant_id: UUID | None,
    tokens: AccessTokens,
    caller: Caller,
    now: datetime,
) -> Session:
    """The session with new tokens, as the person stands now; `tenant_id` takes it over into another of their tenants.

    There is no grace for a client that sends the same token twice: of two at once one wins, and the other one ends the
    sign-in, since nobody can tell it from a thief's. Raises Unauthenticated for a token that is unknown, late, spent or
    of an ended sign-in; Forbidden for a person or a tenant that may not come in, which spends nothing.
    """
    async with platform_transaction(db) as conn:
        outcome = await _rotate(conn, sha256_of(refresh_token), tenant_id, tokens, caller, now)
    if isinstance(outcome, ServiceError):  # not raised before: what a replay revokes has to be committed
        raise outcome
    return outcome


async def _rotate(
    conn: Connection, spent: bytes, wanted: UUID | None, tokens: AccessTokens, caller: Caller, now: datetime
) -> Session | ServiceError:
    found = await store.sessions.lock_family_of_token(conn, spent)
    if found is None:
        return _refused()
    family, used_at = found
    if used_at is not None:
        if family.revoked_at is None:
            await _end_replayed(conn, family, caller, now)
        return _refused()
    if not family.is_live(now):
        return _refused()
    user = await store.users.get_user(conn, family.user_id)
    require_active(user)
    seat = await choose_seat(conn, user, wanted or family.tenant_id)
    if seat.tenant_id != family.tenant_id:
        await store.sessions.move_family(conn, family.id, seat.tenant_id)
    await store.sessions.mark_token_used(conn, spent, now)
    return await issue_tokens(
        conn, user, seat, family_id=family.id, expires_at=family.expires_at, tokens=tokens, now=now
    )


async def _end_replayed(conn: Connection, family: Family, caller: Caller, now: datetime) -> None:
    await store.sessions.mark_family_revoked(conn, family.id, "replayed", now)
    user = await store.users.get_user(conn, family.user_id)
    await tell_audit(
        conn,
        family.tenant_id or PLATFORM_TENANT_ID,
        "refresh_token.replayed",
        actor=ANYBODY,
        targets=[target_for(user)],
        caller=caller,
        subject_id=user.id,
        now=now,
        signed_in_at=family.created_at.isoformat(),
    )


def _refused() -> Unauthenticated:
    return Unauthenticated("Invalid refresh token", code="invalid_refresh_token")
