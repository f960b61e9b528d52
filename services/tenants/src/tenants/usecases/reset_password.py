"""Sets the password of whoever holds a link that was mailed to the account's address."""

from datetime import datetime

import msgspec

from chassis.db import Database, platform_transaction
from contracts.errors import Malformed
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.domain.actors import actor_for, target_for
from tenants.domain.callers import Caller
from tenants.domain.passwords_policy import accepted_password
from tenants.domain.sign_in import PASSWORD_LINKS, home_of, status_after_link
from tenants.domain.sign_in_limits import ACCOUNT
from tenants.domain.tokens import sha256_of
from tenants.passwords import Passwords
from tenants.usecases.call_back_tokens import call_back_tokens
from tenants.usecases.mail_security_notice import mail_security_notice
from tenants.usecases.tell_audit import tell_audit


async def reset_password(
    db: Database, token: str, password: str, *, passwords: Passwords, caller: Caller, now: datetime
) -> None:
    """The password is set, the address known to be theirs, every sign-in ended, and the person told by mail.

    A second factor stays. Raises Malformed for a link that is unknown, late, spent, or of an account that may not come
    in; Invalid for a password that may not be one, which spends nothing; Unavailable when too many wait for a hash.
    """
    digest = sha256_of(token)
    async with platform_transaction(db) as conn:
        link = await store.links.find_link(conn, digest, PASSWORD_LINKS, now)
        user = None if link is None else await store.users.find_user(conn, link.user_id)
    if link is None or user is None or status_after_link(user, link.purpose) is None:
        raise _refused()
    password_hash = await passwords.hash(accepted_password(password, email=user.email))
    async with platform_transaction(db) as conn:
        user = await store.users.lock_user(conn, link.user_id)
        status = status_after_link(user, link.purpose)
        if status is None or await store.links.use_link(conn, digest, PASSWORD_LINKS, now) is None:
            raise _refused()
        home = home_of(await store.users.list_belongings(conn, user.id))
        user = msgspec.structs.replace(
            user, password_hash=password_hash, status=status, email_verified_at=user.email_verified_at or now
        )
        user = await call_back_tokens(conn, user, why="password_changed", now=now)
        await store.links.spend_links(conn, user.id, [*PASSWORD_LINKS, "verify_email", "two_factor"], now)
        if user.email is not None:
            await store.tries.give_back_tries(conn, ACCOUNT.key(user.email))
        await tell_audit(
            conn,
            home.tenant_id if home is not None else PLATFORM_TENANT_ID,
            "password.reset",
            actor=actor_for(user),
            targets=[target_for(user)],
            caller=caller,
            subject_id=user.id,
            now=now,
        )
        await mail_security_notice(conn, user, "password_changed", now=now)


def _refused() -> Malformed:
    return Malformed("Invalid or expired reset token", code="invalid_link")
