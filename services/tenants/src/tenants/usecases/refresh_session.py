"""Rotates a refresh token: each is good for one rotation, and showing a spent one ends the whole sign-in."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from chassis.db import Connection, Database, platform_transaction
from chassis.secrets import SecretBox
from chassis.settings import Secret
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

#: How long a spent token is answered again: as long as a slow request, and no longer than what others allow by default.
REPEATED_FOR: Final = timedelta(seconds=10)
_TABLE: Final = "refresh_tokens"


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

    Two tabs of a browser send the same token at once: for REPEATED_FOR a spent one is answered with the very token that
    took its place, while that one is unspent. So a sign-in has one line of tokens, whoever holds them, and who comes
    later with a spent one ends it. Raises Unauthenticated for a token that is unknown, late, spent or of an ended
    sign-in; Forbidden for a person or a tenant that may not come in, which spends nothing.
    """
    async with platform_transaction(db) as conn:
        outcome = await _rotate(conn, refresh_token, tenant_id, tokens, caller, now)
    if isinstance(outcome, ServiceError):  # not raised before: what a replay revokes has to be committed
        raise outcome
    return outcome


async def _rotate(
    conn: Connection, shown: str, wanted: UUID | None, tokens: AccessTokens, caller: Caller, now: datetime
) -> Session | ServiceError:
    spent = sha256_of(shown)
    found = await store.sessions.lock_family_of_token(conn, spent)
    if found is None:
        return _refused()
    family, used_at = found
    successor = None
    if used_at is not None:
        successor = await _successor(conn, shown, family, used_at, now)
        if successor is None and family.revoked_at is None:
            await _end_replayed(conn, family, caller, now)
        if successor is None:
            return _refused()
    if not family.is_live(now):
        return _refused()
    user = await store.users.get_user(conn, family.user_id)
    require_active(user)
    seat = await choose_seat(conn, user, wanted or family.tenant_id)
    if seat.tenant_id != family.tenant_id:
        await store.sessions.move_family(conn, family.id, seat.tenant_id)
    session = await issue_tokens(
        conn,
        user,
        seat,
        family_id=family.id,
        expires_at=family.expires_at,
        tokens=tokens,
        now=now,
        refresh_token=successor,
    )
    if successor is None:
        sealed = _box(shown).seal(session.refresh_token, PLATFORM_TENANT_ID, _TABLE, family.id)
        await store.sessions.mark_token_used(conn, spent, sealed, now)
    return session


async def _successor(conn: Connection, shown: str, family: Family, used_at: datetime, now: datetime) -> str | None:
    """The token that took the place of the one shown; None when that was too long ago, or it is spent itself."""
    sealed = await store.sessions.find_successor(conn, sha256_of(shown))
    if sealed is None or now - used_at > REPEATED_FOR:
        return None
    successor = _box(shown).open(sealed, PLATFORM_TENANT_ID, _TABLE, family.id)
    found = await store.sessions.find_family_of_token(conn, sha256_of(successor))
    return successor if found is not None and found[1] is None else None


def _box(token: str) -> SecretBox:
    """Opened by whoever has the token, which is nowhere stored, and by nobody else."""
    return SecretBox(Secret(token))


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
