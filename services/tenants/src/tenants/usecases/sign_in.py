"""Signs a person in by e-mail and password, without telling anybody which accounts exist."""

from datetime import datetime
from uuid import UUID

import msgspec

from chassis.db import Connection, Database, platform_transaction
from contracts.errors import Forbidden, Invalid, Unauthenticated, Unavailable
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.access_tokens import AccessTokens
from tenants.domain.actors import ANYBODY, target_for
from tenants.domain.callers import Caller
from tenants.domain.emails import normal_email
from tenants.domain.passwords_policy import normal_password
from tenants.domain.people import User
from tenants.domain.sign_in import Challenge, Session, SignInTerms, home_of, require_active
from tenants.domain.sign_in_limits import ACCOUNT, ADDRESS
from tenants.domain.tokens import new_token, sha256_of
from tenants.passwords import Passwords
from tenants.usecases.choose_seat import choose_seat
from tenants.usecases.count_tries import count_tries
from tenants.usecases.start_session import start_session
from tenants.usecases.tell_audit import tell_audit

_NOBODY = UUID(int=0)


async def sign_in(
    db: Database,
    email: str,
    password: str,
    *,
    tenant_id: UUID | None,
    passwords: Passwords,
    tokens: AccessTokens,
    terms: SignInTerms,
    caller: Caller,
    now: datetime,
) -> Session | Challenge:
    """A session, or a challenge where the account has a second factor. `tenant_id` chooses among the person's tenants.

    An unknown account costs the same statements and the same hashes as a known one with a wrong password. Only failures
    count: a success forgets the account's, and takes its own try off the address's. Raises Unauthenticated for either,
    TooManyRequests before anything is compared, Forbidden for the right password of an account that may not come in,
    Unavailable when too many wait for a hash.
    """
    account, password = _account(email), normal_password(password)
    async with platform_transaction(db) as conn:  # one for both: whoever was counted has a hash computed
        refusal = await count_tries(conn, (ADDRESS, caller.network), (ACCOUNT, account))
        user = await store.users.find_user_by_email(conn, account)
        imported = await store.users.find_imported_hash(conn)
    if refusal is not None:
        raise refusal
    try:
        fits = await passwords.check(password, user.password_hash if user is not None else None, imported=imported)
    except Unavailable:
        async with platform_transaction(db) as conn:
            await store.tries.give_back_try(conn, ADDRESS.key(caller.network), ADDRESS.emission)
            await store.tries.give_back_try(conn, ACCOUNT.key(account), ACCOUNT.emission)
        raise
    if user is None or user.password_hash is None or not fits:
        await _note_refusal(db, user, "invalid_credentials", caller, now)
        raise Unauthenticated("Invalid credentials", code="invalid_credentials")
    new_hash = None if passwords.is_current(user.password_hash) else await passwords.hash(password)
    try:
        async with platform_transaction(db) as conn:
            user = await _held(conn, user, new_hash, now)
            await store.tries.give_back_try(conn, ADDRESS.key(caller.network), ADDRESS.emission)
            await store.tries.give_back_tries(conn, ACCOUNT.key(account))
            seat = await choose_seat(conn, user, tenant_id)
            if await store.totp.has_second_factor(conn, user.id):
                return await _challenge(conn, user, seat.tenant_id, terms, now)
            return await start_session(
                conn, user, seat, tokens=tokens, terms=terms, caller=caller, with_second_factor=False, now=now
            )
    except Forbidden as error:
        await _note_refusal(db, user, error.code, caller, now)
        raise


def _account(email: str) -> str:
    try:
        return normal_email(email)
    except Invalid:
        return email.strip().lower()  # nobody's, and not worth another answer than a wrong password


async def _held(conn: Connection, seen: User, new_hash: str | None, now: datetime) -> User:
    """The person, kept from others, with the hash that was compared; an older kind of hash gives way to a new one."""
    user = await store.users.lock_user(conn, seen.id)
    if user.password_hash != seen.password_hash:
        raise Unauthenticated("Invalid credentials", code="invalid_credentials")  # changed while it was compared
    require_active(user)
    if new_hash is None:
        return user
    user = msgspec.structs.replace(user, password_hash=new_hash, version=user.version + 1, updated_at=now)
    await store.users.update_user(conn, user)
    return user


async def _challenge(
    conn: Connection, user: User, tenant_id: UUID | None, terms: SignInTerms, now: datetime
) -> Challenge:
    token = new_token()
    await store.links.insert_link(
        conn,
        sha256_of(token),
        user_id=user.id,
        purpose="two_factor",
        tenant_id=tenant_id,
        object_id=None,
        now=now,
        lifetime=terms.challenge_lifetime,
    )
    return Challenge(token=token)


async def _note_refusal(db: Database, user: User | None, reason: str, caller: Caller, now: datetime) -> None:
    """The refusal, in the log of the person's tenant; for an unknown account in the platform's, just as costly."""
    async with platform_transaction(db) as conn:
        belongings = await store.users.list_belongings(conn, user.id if user is not None else _NOBODY)
        home = home_of(belongings)
        await tell_audit(
            conn,
            home.tenant_id if home is not None else PLATFORM_TENANT_ID,
            "sign_in.refused",
            actor=ANYBODY,
            targets=[target_for(user)] if user is not None else [],
            caller=caller,
            subject_id=user.id if user is not None else None,
            now=now,
            reason=reason,
        )
