"""Takes a code of a second factor, or a recovery code, once."""

from datetime import datetime
from typing import Literal

from chassis.db import Connection
from chassis.secrets import SecretBox
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.domain.tokens import recovery_code_normal, sha256_of
from tenants.store.totp import SecondFactor
from tenants.totp import matching_step

#: What the secret is sealed for, with the nil tenant and the person's id.
TABLE = "totp_secrets"


async def spend_code(
    conn: Connection,
    factor: SecondFactor,
    *,
    code: str | None,
    recovery_code: str | None,
    box: SecretBox,
    now: datetime,
) -> Literal["code", "recovery_code"] | None:
    """Which of the two was right, and is used up by this; None for wrong, late and used ones.

    `factor` is held by the caller's transaction, so two tries with one code are one after the other. A recovery code
    helps only with a factor that is enabled. A secret under an older key is sealed anew.
    """
    if code is not None:
        secret = box.open(factor.secret, PLATFORM_TENANT_ID, TABLE, factor.user_id)
        step = matching_step(secret, code, after_step=factor.last_step, now=now)
        if step is None:
            return None
        await store.totp.mark_step_used(conn, factor.user_id, step)
        if not box.is_current(factor.secret):
            await store.totp.replace_sealed(
                conn, factor.user_id, box.seal(secret, PLATFORM_TENANT_ID, TABLE, factor.user_id)
            )
        return "code"
    if recovery_code is None or factor.enabled_at is None:
        return None
    digest = sha256_of(recovery_code_normal(recovery_code))
    return "recovery_code" if await store.totp.use_recovery_code(conn, factor.user_id, digest, now) else None
