"""Takes the password off an account that nobody showed to be theirs, before the account is given anything."""

from datetime import datetime

from chassis.db import Connection
from tenants import store
from tenants.domain.people import User, has_strangers_password, without_password
from tenants.usecases.call_back_tokens import call_back_tokens


async def drop_strangers_password(conn: Connection, user: User, *, now: datetime) -> User:
    """The person as stored; without password, second factor and sign-ins if the mailbox was never shown to be theirs.

    Else whoever registered an address first would own what its true owner pays for later. In a platform transaction
    that holds the user's row.
    """
    if not has_strangers_password(user):
        return user
    await store.totp.delete_second_factor(conn, user.id)
    await store.links.spend_links(conn, user.id, ["verify_email", "two_factor", "reset_password"], now)
    return await call_back_tokens(conn, without_password(user), why="address_not_confirmed", now=now)
