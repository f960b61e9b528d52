"""Ends every sign-in of a person, and makes every token that was issued to them so far good for nothing."""

from datetime import datetime

import msgspec

from chassis.db import Connection
from tenants import store
from tenants.domain.people import User, new_valid_from
from tenants.usecases.tell_person import tell_person


async def call_back_tokens(conn: Connection, user: User, *, why: str, now: datetime, everywhere: bool = False) -> User:
    """The person as stored, with what else of `user` has changed; the edge hears of it by the events.

    `everywhere`: what has changed is true of the person in every tenant, also in those that are yet to come. For a
    platform transaction that holds the user's row.
    """
    stored = msgspec.structs.replace(
        user,
        tokens_valid_from=new_valid_from(user, now),
        version=user.version + 1,
        updated_at=now,
    )
    await store.users.update_user(conn, stored)
    await store.sessions.mark_families_revoked(conn, user.id, why, now)
    await tell_person(conn, stored, now=now, everywhere=everywhere)
    return stored
