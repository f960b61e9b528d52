"""Issues a pair of tokens within a sign-in: a refresh token of its family, an access token for its seat."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from tenants import store
from tenants.access_tokens import AccessTokens
from tenants.domain.people import User
from tenants.domain.sign_in import Seat, Session
from tenants.domain.tokens import new_token, sha256_of


async def issue_tokens(
    conn: Connection,
    user: User,
    seat: Seat,
    *,
    family_id: UUID,
    expires_at: datetime,
    tokens: AccessTokens,
    now: datetime,
    refresh_token: str | None = None,
) -> Session:
    """The session; of the refresh token only a hash is kept. `refresh_token` is one that the family has already.

    The access token is for the seat's tenant and no other, though the person may belong to more: its role and
    permissions are what they are there, and would go with them to any tenant that the token let them select.
    """
    if refresh_token is None:
        refresh_token = new_token()
        await store.sessions.insert_refresh_token(conn, sha256_of(refresh_token), family_id, now)
    access_token = tokens.sign(
        user_id=user.id,
        email=user.email or "",
        role=seat.role,
        tenant_id=seat.tenant_id,
        tenant_ids=[seat.tenant_id] if seat.tenant_id is not None else [],
        permissions=seat.granted,
        valid_from=user.tokens_valid_from,
        now=now,
    )
    return Session(
        user=user, seat=seat, access_token=access_token, refresh_token=refresh_token, refresh_expires_at=expires_at
    )
