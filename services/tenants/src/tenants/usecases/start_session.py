"""Lets a person in who has shown who they are: a family of refresh tokens, and the first pair of tokens."""

from datetime import datetime

from bus.outbox import tell
from chassis.db import Connection
from contracts.tenancy import PLATFORM_TENANT_ID
from contracts.tenants import UserSignedIn
from tenants import store
from tenants.access_tokens import AccessTokens
from tenants.domain.actors import actor_for, target_for
from tenants.domain.callers import Caller
from tenants.domain.identifiers import new_id
from tenants.domain.people import User
from tenants.domain.sign_in import Seat, Session, SignInTerms
from tenants.usecases.issue_tokens import issue_tokens
from tenants.usecases.tell_audit import tell_audit


async def start_session(
    conn: Connection,
    user: User,
    seat: Seat,
    *,
    tokens: AccessTokens,
    terms: SignInTerms,
    caller: Caller,
    with_second_factor: bool,
    now: datetime,
) -> Session:
    """The session; it is told, and stands in the tenant's log. In a platform transaction that holds the user's row."""
    family_id = new_id(now)
    expires_at = now + terms.refresh_lifetime
    await store.sessions.insert_family(conn, family_id, user.id, seat.tenant_id, now, expires_at)
    await store.users.mark_signed_in(conn, user.id, seat.tenant_id, now)
    event = UserSignedIn(
        tenant_id=seat.tenant_id, user_id=user.id, with_second_factor=with_second_factor, occurred_at=now
    )
    await tell(conn, event, tenant_id=seat.tenant_id, aggregate_id=user.id)
    await tell_audit(
        conn,
        seat.tenant_id or PLATFORM_TENANT_ID,
        "user.signed_in",
        actor=actor_for(user),
        targets=[target_for(user)],
        caller=caller,
        subject_id=user.id,
        now=now,
        with_second_factor=with_second_factor,
    )
    return await issue_tokens(conn, user, seat, family_id=family_id, expires_at=expires_at, tokens=tokens, now=now)
