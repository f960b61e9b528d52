"""Makes signing in take a second factor, once a code has shown that the authenticator has the secret."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection, Database, platform_transaction
from chassis.secrets import SecretBox
from contracts.errors import Conflict, FieldError, Invalid
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.domain.actors import actor_for, target_for
from tenants.domain.callers import Caller
from tenants.domain.sign_in_limits import SECOND_FACTOR
from tenants.domain.tokens import new_recovery_codes, sha256_of
from tenants.usecases.mail_security_notice import mail_security_notice
from tenants.usecases.spend_code import spend_code
from tenants.usecases.take_tries import take_tries
from tenants.usecases.tell_audit import tell_audit


async def enable_second_factor(
    db: Database,
    user_id: UUID,
    code: str,
    *,
    tenant_id: UUID | None,
    box: SecretBox,
    caller: Caller,
    now: datetime,
) -> list[str]:
    """The recovery codes, never shown again. `tenant_id` is whose log it stands in.

    Raises Conflict where none is set up or one is enabled, Invalid for a wrong code, TooManyRequests.
    """
    await take_tries(db, (SECOND_FACTOR, str(user_id)))
    async with platform_transaction(db) as conn:
        codes = await _enable(conn, user_id, code, tenant_id, box, caller, now)
        await store.tries.give_back_tries(conn, SECOND_FACTOR.key(str(user_id)))
    return codes


async def _enable(
    conn: Connection, user_id: UUID, code: str, tenant_id: UUID | None, box: SecretBox, caller: Caller, now: datetime
) -> list[str]:
    user = await store.users.get_user(conn, user_id)
    factor = await store.totp.lock_second_factor(conn, user_id)
    if factor is None:
        raise Conflict("Set a second factor up first.", code="second_factor_missing")
    if factor.enabled_at is not None:
        raise Conflict("The second factor is enabled.", code="second_factor_enabled")
    if await spend_code(conn, factor, code=code, recovery_code=None, box=box, now=now) is None:
        raise Invalid("The code is wrong.", code="invalid_code", errors=[FieldError("$.code", "is wrong")])
    await store.totp.mark_enabled(conn, user_id, now)
    codes = new_recovery_codes()
    await store.totp.insert_recovery_codes(conn, user_id, [sha256_of(one) for one in codes])
    await tell_audit(
        conn,
        tenant_id or PLATFORM_TENANT_ID,
        "second_factor.enabled",
        actor=actor_for(user),
        targets=[target_for(user)],
        caller=caller,
        subject_id=user.id,
        now=now,
    )
    await mail_security_notice(conn, user, "second_factor_enabled", now=now)
    return codes
