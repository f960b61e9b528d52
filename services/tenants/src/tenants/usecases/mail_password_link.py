"""Writes a person a link by which they choose a password."""

from datetime import datetime

from chassis.db import Connection
from tenants import store
from tenants.domain.brand import brand_of
from tenants.domain.people import User
from tenants.domain.sign_in import PasswordLink, SignInTerms, home_of, locale_of
from tenants.domain.tokens import new_token, sha256_of
from tenants.usecases.queue_mail import queue_mail


async def mail_password_link(
    conn: Connection, user: User, purpose: PasswordLink, *, terms: SignInTerms, now: datetime
) -> None:
    """The mail leaves when the transaction commits; an older link of the same purpose is good for nothing any more."""
    token = new_token()
    await store.links.insert_link(
        conn,
        sha256_of(token),
        user_id=user.id,
        purpose=purpose,
        tenant_id=None,
        object_id=None,
        now=now,
        lifetime=terms.reset_lifetime,
    )
    home = home_of(await store.users.list_belongings(conn, user.id))
    await queue_mail(
        conn,
        "account_reset",
        user.email,
        {
            "name": user.name,
            "link": terms.reset_link(token),
            "valid_minutes": int(terms.reset_lifetime.total_seconds()) // 60,
            **brand_of(home),
        },
        name=user.name,
        about=user.id,
        key=f"account-reset-{sha256_of(token).hex()}",
        locale=locale_of(user),
    )
