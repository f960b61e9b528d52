"""Writes a person that something about the security of their account changed, or was tried."""

from datetime import datetime
from typing import Literal

from chassis.db import Connection
from tenants import store
from tenants.domain.brand import brand_of
from tenants.domain.identifiers import new_id
from tenants.domain.people import User
from tenants.domain.sign_in import home_of, locale_of
from tenants.usecases.queue_mail import queue_mail

SecurityEvent = Literal[
    "password_changed",
    "registration_attempted",
    "second_factor_enabled",
    "second_factor_disabled",
    "recovery_code_used",
    "email_changed",
    "sessions_revoked",
]


async def mail_security_notice(
    conn: Connection, user: User, event: SecurityEvent, *, now: datetime, to: str | None = None
) -> None:
    """The mail leaves when the transaction commits; it holds no link. `to` is an address that the account once had."""
    home = home_of(await store.users.list_belongings(conn, user.id))
    await queue_mail(
        conn,
        "account_security_notice",
        to or user.email,
        {"name": user.name, "event": event, "at": f"{now:%Y-%m-%d %H:%M} UTC", **brand_of(home)},
        name=user.name,
        about=user.id,
        key=f"account-notice-{new_id(now)}",
        locale=locale_of(user),
    )
