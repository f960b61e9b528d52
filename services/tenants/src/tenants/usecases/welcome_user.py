"""Writes to somebody who has yet to choose a password: a mail with a link that lets them do it, once."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from tenants import store
from tenants.domain.brand import brand_of
from tenants.domain.companies import Tenant
from tenants.domain.identifiers import new_id
from tenants.domain.people import User
from tenants.domain.sign_in import locale_of
from tenants.domain.terms import WELCOME_LINK, Terms
from tenants.domain.tokens import new_token, sha256_of
from tenants.usecases.queue_mail import queue_mail


async def welcome_user(conn: Connection, user: User, tenant: Tenant | None, *, terms: Terms, now: datetime) -> UUID:
    """The mail's id, by which it is one mail. Links sent to the person before are good for nothing any more.

    Without a tenant it is the platform that welcomes them.
    """
    token, mail_id = new_token(), new_id(now)
    await store.links.insert_link(
        conn,
        sha256_of(token),
        user_id=user.id,
        purpose="set_password",
        tenant_id=None if tenant is None else tenant.tenant_id,
        object_id=None,
        now=now,
        lifetime=WELCOME_LINK,
    )
    await queue_mail(
        conn,
        "account_welcome",
        user.email,
        {
            "name": user.name,
            "link": terms.link("reset-password", token),
            "valid_days": WELCOME_LINK.days,
            **brand_of(tenant),
        },
        name=user.name,
        about=user.id,
        key=f"account_welcome:{mail_id}",
        locale=locale_of(user),
    )
    return mail_id
