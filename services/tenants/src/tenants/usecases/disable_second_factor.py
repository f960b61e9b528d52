"""Takes a second factor away from whoever shows the password and a code of it."""

from datetime import datetime
from uuid import UUID

from chassis.db import Database, platform_transaction
from chassis.secrets import SecretBox
from contracts.errors import Conflict, FieldError, Invalid
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.domain.actors import actor_for, target_for
from tenants.domain.callers import Caller
from tenants.domain.passwords_policy import normal_password
from tenants.domain.sign_in_limits import ACCOUNT, SECOND_FACTOR
from tenants.passwords import Passwords
from tenants.usecases.mail_security_notice import mail_security_notice
from tenants.usecases.spend_code import spend_code
from tenants.usecases.take_tries import take_tries
from tenants.usecases.tell_audit import tell_audit


async def disable_second_factor(
    db: Database,
    user_id: UUID,
    password: str,
    *,
    code: str | None,
    recovery_code: str | None,
    tenant_id: UUID | None,
    passwords: Passwords,
    box: SecretBox,
    caller: Caller,
    now: datetime,
) -> None:
    """Signing in takes the password alone from now on; its recovery codes are gone. `tenant_id`: whose log it is in.

    Wrong passwords count as at sign-in: a stolen session must not guess on. Raises Conflict where none is enabled,
    Invalid for a wrong password or code, TooManyRequests, Unavailable when too many wait for a hash.
    """
    async with platform_transaction(db) as conn:
        user = await store.users.get_user(conn, user_id)
    account = user.email or str(user_id)
    await take_tries(db, (ACCOUNT, account), (SECOND_FACTOR, str(user_id)))
    if not await passwords.check(normal_password(password), user.password_hash):
        raise _wrong("password")
    async with platform_transaction(db) as conn:
        await store.users.lock_user(conn, user_id)
        factor = await store.totp.lock_second_factor(conn, user_id)
        if factor is None or factor.enabled_at is None:
            raise Conflict("There is no second factor to disable.", code="second_factor_missing")
        if await spend_code(conn, factor, code=code, recovery_code=recovery_code, box=box, now=now) is None:
            raise _wrong("code")
        await store.totp.delete_second_factor(conn, user_id)
        await store.tries.give_back_tries(conn, ACCOUNT.key(account))
        await store.tries.give_back_tries(conn, SECOND_FACTOR.key(str(user_id)))
        await tell_audit(
            conn,
            tenant_id or PLATFORM_TENANT_ID,
            "second_factor.disabled",
            actor=actor_for(user),
            targets=[target_for(user)],
            caller=caller,
            subject_id=user.id,
            now=now,
        )
        await mail_security_notice(conn, user, "second_factor_disabled", now=now)


def _wrong(what: str) -> Invalid:
    return Invalid(f"The {what} is wrong.", code=f"invalid_{what}", errors=[FieldError(f"$.{what}", "is wrong")])
