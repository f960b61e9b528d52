"""Lets a stranger register: an account of no tenant and no right, good for nothing until its address is confirmed."""

from datetime import datetime

import msgspec

from chassis.db import Connection, Database, platform_transaction
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.domain.actors import ANYBODY, target_for
from tenants.domain.brand import brand_of
from tenants.domain.callers import Caller
from tenants.domain.emails import normal_email
from tenants.domain.identifiers import new_id
from tenants.domain.passwords_policy import accepted_password
from tenants.domain.people import User, UserStatus, new_user
from tenants.domain.sign_in import SignInTerms, password_link_for
from tenants.domain.sign_in_limits import MAIL_REQUESTS, MAILS
from tenants.domain.tokens import new_token, sha256_of
from tenants.passwords import Passwords
from tenants.usecases.mail_password_link import mail_password_link
from tenants.usecases.mail_security_notice import mail_security_notice
from tenants.usecases.queue_mail import queue_mail
from tenants.usecases.take_tries import take_tries
from tenants.usecases.tell_audit import tell_audit


async def register_account(
    db: Database,
    email: str,
    password: str,
    name: str,
    *,
    passwords: Passwords,
    terms: SignInTerms,
    caller: Caller,
    now: datetime,
) -> None:
    """A mail is on its way to the address: to confirm it, or, where it has an account, to say that somebody tried.

    Whoever registered before and never confirmed gets a link to choose the password anew: the account may have been
    registered by somebody else, whose password must not become the one of whoever confirms. The caller learns nothing.
    Raises Invalid for what is no address or may not be a password, TooManyRequests, Unavailable.
    """
    address = normal_email(email)
    password = accepted_password(password, email=address)
    await take_tries(db, (MAIL_REQUESTS, caller.network))
    fresh = msgspec.structs.replace(
        new_user(new_id(now), address, name.strip(), now), password_hash=await passwords.hash(password)
    )
    async with platform_transaction(db) as conn:
        if await store.tries.take_try(conn, MAILS.key(address), MAILS.emission, MAILS.tolerance) is not None:
            return
        user = await store.users.insert_user(conn, fresh)
        if user.id == fresh.id:
            await _ask_to_confirm(conn, user, terms, now)
            await tell_audit(
                conn,
                PLATFORM_TENANT_ID,
                "user.registered",
                actor=ANYBODY,
                targets=[target_for(user)],
                caller=caller,
                subject_id=user.id,
                now=now,
            )
            return
        purpose = password_link_for(user, await store.users.list_belongings(conn, user.id))
        if user.status is UserStatus.PENDING and purpose is not None:
            await store.links.spend_links(conn, user.id, ["verify_email"], now)
            await mail_password_link(conn, user, purpose, terms=terms, now=now)
        else:
            await mail_security_notice(conn, user, "registration_attempted", now=now)


async def _ask_to_confirm(conn: Connection, user: User, terms: SignInTerms, now: datetime) -> None:
    token = new_token()
    await store.links.insert_link(
        conn,
        sha256_of(token),
        user_id=user.id,
        purpose="verify_email",
        tenant_id=None,
        object_id=None,
        now=now,
        lifetime=terms.verify_lifetime,
    )
    await queue_mail(
        conn,
        "account_verify_email",
        user.email,
        {
            "name": user.name,
            "link": terms.verify_link(token),
            "valid_days": terms.verify_lifetime.days,
            **brand_of(None),
        },
        name=user.name,
        about=user.id,
        key=f"account-verify-{sha256_of(token).hex()}",
    )
