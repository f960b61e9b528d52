"""Takes a mailed link as the proof that an address is its account's."""

from datetime import datetime

import msgspec

from chassis.db import Connection
from contracts.errors import Malformed
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.domain.actors import actor_for, target_for
from tenants.domain.callers import Caller
from tenants.domain.people import UserStatus
from tenants.domain.sign_in import home_of, status_after_link
from tenants.domain.tokens import sha256_of
from tenants.usecases.tell_audit import tell_audit


async def verify_email(conn: Connection, token: str, *, caller: Caller, now: datetime) -> None:
    """The address is known to be theirs, and an account that waited for it is active. In a platform transaction.

    Raises Malformed for a link that is unknown, late, spent, or of an account that may not come in.
    """
    digest = sha256_of(token)
    link = await store.links.find_link(conn, digest, ["verify_email"], now)
    if link is None:
        raise _refused()
    user = await store.users.lock_user(conn, link.user_id)
    status = status_after_link(user, link.purpose)
    if status is None or await store.links.use_link(conn, digest, ["verify_email"], now) is None:
        raise _refused()
    was_waiting = user.status is UserStatus.PENDING
    user = msgspec.structs.replace(
        user, status=status, email_verified_at=user.email_verified_at or now, version=user.version + 1, updated_at=now
    )
    await store.users.update_user(conn, user)
    home = home_of(await store.users.list_belongings(conn, user.id))
    await tell_audit(
        conn,
        home.tenant_id if home is not None else PLATFORM_TENANT_ID,
        "email.verified",
        actor=actor_for(user),
        targets=[target_for(user)],
        caller=caller,
        subject_id=user.id,
        now=now,
        activated=was_waiting,
    )


def _refused() -> Malformed:
    return Malformed("Invalid or expired verification token", code="invalid_link")
