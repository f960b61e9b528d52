"""Lets a person in who has shown the password before, and now a code of their second factor."""

from datetime import datetime

from chassis.db import Connection, Database, platform_transaction
from chassis.secrets import SecretBox
from contracts.errors import Unauthenticated
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.access_tokens import AccessTokens
from tenants.domain.actors import ANYBODY, target_for
from tenants.domain.callers import Caller
from tenants.domain.people import User
from tenants.domain.sign_in import Session, SignInTerms, require_active
from tenants.domain.sign_in_limits import SECOND_FACTOR
from tenants.domain.tokens import sha256_of
from tenants.store.links import Link
from tenants.usecases.choose_seat import choose_seat
from tenants.usecases.count_tries import count_tries
from tenants.usecases.mail_security_notice import mail_security_notice
from tenants.usecases.spend_code import spend_code
from tenants.usecases.start_session import start_session
from tenants.usecases.tell_audit import tell_audit

_PURPOSE = ["two_factor"]


async def pass_second_factor(
    db: Database,
    challenge: str,
    *,
    code: str | None,
    recovery_code: str | None,
    box: SecretBox,
    tokens: AccessTokens,
    terms: SignInTerms,
    caller: Caller,
    now: datetime,
) -> Session:
    """The session. The challenge is good for one success, the code for one use, and tries count per account.

    Raises Unauthenticated for a challenge that is unknown, late or spent and for a wrong code, TooManyRequests,
    Forbidden for an account or a tenant that may not come in any more.
    """
    digest = sha256_of(challenge)
    async with platform_transaction(db) as conn:
        link = await store.links.find_link(conn, digest, _PURPOSE, now)
    if link is None:
        raise _no_challenge()
    session: Session | None = None
    async with platform_transaction(db) as conn:  # one for both: whoever was counted has the code compared
        user = await store.users.lock_user(conn, link.user_id)
        refusal = await count_tries(conn, (SECOND_FACTOR, str(user.id)))
        if refusal is None:
            session = await _pass(conn, user, digest, link, code, recovery_code, box, tokens, terms, caller, now)
            if session is None:
                await _note_failure(conn, user, link, caller, now)
    if refusal is not None:
        raise refusal
    if session is None:
        raise Unauthenticated("Invalid code", code="invalid_code")
    return session


async def _pass(
    conn: Connection,
    user: User,
    digest: bytes,
    link: Link,
    code: str | None,
    recovery_code: str | None,
    box: SecretBox,
    tokens: AccessTokens,
    terms: SignInTerms,
    caller: Caller,
    now: datetime,
) -> Session | None:
    factor = await store.totp.lock_second_factor(conn, user.id)
    if factor is None or factor.enabled_at is None:
        raise _no_challenge()  # disabled since; the password alone is enough, and has to be shown again
    shown = await spend_code(conn, factor, code=code, recovery_code=recovery_code, box=box, now=now)
    if shown is None:
        return None
    if await store.links.use_link(conn, digest, _PURPOSE, now) is None:
        raise _no_challenge()
    require_active(user)
    seat = await choose_seat(conn, user, link.tenant_id)
    await store.tries.give_back_tries(conn, SECOND_FACTOR.key(str(user.id)))
    if shown == "recovery_code":
        await mail_security_notice(conn, user, "recovery_code_used", now=now)
    return await start_session(
        conn, user, seat, tokens=tokens, terms=terms, caller=caller, with_second_factor=True, now=now
    )


async def _note_failure(conn: Connection, user: User, link: Link, caller: Caller, now: datetime) -> None:
    await tell_audit(
        conn,
        link.tenant_id or PLATFORM_TENANT_ID,
        "second_factor.refused",
        actor=ANYBODY,
        targets=[target_for(user)],
        caller=caller,
        subject_id=user.id,
        now=now,
    )


def _no_challenge() -> Unauthenticated:
    return Unauthenticated("Invalid or expired challenge", code="invalid_challenge")
