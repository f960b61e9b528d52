"""Answers a forgotten password by mail, and tells whoever asks nothing at all."""

from datetime import datetime

from chassis.db import Database, platform_transaction
from contracts.errors import Invalid
from tenants import store
from tenants.domain.callers import Caller
from tenants.domain.emails import normal_email
from tenants.domain.identifiers import new_id
from tenants.domain.people import new_user
from tenants.domain.sign_in import SignInTerms, password_link_for
from tenants.domain.sign_in_limits import MAIL_REQUESTS, MAILS
from tenants.usecases.mail_password_link import mail_password_link
from tenants.usecases.take_tries import take_tries


class _NotSent(Exception):
    """Undoes what was written for nobody."""


async def request_password_reset(
    db: Database, email: str, *, terms: SignInTerms, caller: Caller, now: datetime
) -> None:
    """A link is on its way to the address if it may have one.

    For an address without an account, or whose account may not have one, the same statements run and are undone, so
    that time tells nothing either; too many mails to one address are left out as silently. Raises TooManyRequests for
    too many requests from one address.
    """
    await take_tries(db, (MAIL_REQUESTS, caller.network))
    try:
        address = normal_email(email)
    except Invalid:
        address = email.strip().lower()
    async with platform_transaction(db) as conn:
        is_early = await store.tries.take_try(conn, MAILS.key(address), MAILS.emission, MAILS.tolerance) is not None
        user = await store.users.find_user_by_email(conn, address)
        written = user or new_user(new_id(now), "nobody@example.com", "", now)
        belongings = await store.users.list_belongings(conn, written.id)
        purpose = password_link_for(written, belongings) if user is not None and not is_early else None
        try:
            async with conn.transaction():
                await mail_password_link(conn, written, purpose or "reset_password", terms=terms, now=now)
                if purpose is None:
                    raise _NotSent
        except _NotSent:
            return
