"""The tenants service's own part of an erasure: the person is gone from the tenant, altogether if it was the last."""

from datetime import datetime
from typing import Final

import msgspec

from bus.outbox import tell
from chassis.db import Connection
from contracts.tenants import DataErased, ErasureRequested
from tenants import store
from tenants.domain.people import MemberStatus, UserStatus, new_valid_from
from tenants.usecases.save_membership import save_membership

ERASED_NAME: Final = "erased"
_LINKS: Final = ["set_password", "reset_password", "verify_email", "two_factor"]


async def erase_person(conn: Connection, request: ErasureRequested, *, now: datetime) -> None:
    """What is personal is blank, the audit log's part unreadable for good. In a platform transaction; may run again.

    Entries of the audit log stay, since they say what was done and not who it was: LGPD, art. 16, I.
    """
    erased = ["membership", "invitations", "payment claims", "exports", "audit log: names, addresses, agents"]
    user = await store.users.find_user(conn, request.user_id)
    if user is not None:
        user = await store.users.lock_user(conn, request.user_id)
    member = await store.memberships.lock_membership(conn, request.tenant_id, request.user_id)
    if user is not None and member is not None and member.name != ERASED_NAME:
        blank = msgspec.structs.replace(
            member,
            email=None,
            name=ERASED_NAME,
            phone=None,
            avatar=None,
            permissions=[],
            status=MemberStatus.INACTIVE,
        )
        await save_membership(conn, member, blank, user=user, now=now)
    await store.invitations.erase_invited(conn, request.tenant_id, request.email, now)
    await store.claims.erase_claimant(conn, request.tenant_id, request.user_id)
    await store.privacy.drop_parts(conn, request.tenant_id, request.user_id)
    await store.audit.delete_subject_key(conn, request.tenant_id, request.user_id)
    others = [
        one
        for one in await store.memberships.list_of_user(conn, request.user_id)
        if one.tenant_id != request.tenant_id and one.name != ERASED_NAME
    ]
    # Who administers the platform is the operator's to say: no tenant ends that.
    is_admin = user is not None and user.is_platform_admin
    if user is not None and not others and not is_admin and user.status is not UserStatus.ERASED:
        current = await store.users.lock_user(conn, request.user_id)
        gone = msgspec.structs.replace(
            current,
            email=None,
            name=ERASED_NAME,
            password_hash=None,
            preferences={},
            status=UserStatus.ERASED,
            tokens_valid_from=new_valid_from(current, now),
            version=current.version + 1,
            updated_at=now,
            erased_at=now,
        )
        await store.users.update_user(conn, gone)
        await store.sessions.mark_families_revoked(conn, request.user_id, "erased", now)
        await store.links.spend_links(conn, request.user_id, _LINKS, now)
        await store.totp.delete_second_factor(conn, request.user_id)
        # The nil tenant's log too, and those of tenants that they left: nobody could ask there for an erasure any more.
        await store.audit.delete_subject_keys(conn, request.user_id)
        erased.append("account")
    kept = ["audit log entries without what is personal (LGPD, art. 16, I: legal obligation)"]
    if others:
        kept.append("account: the person belongs to another tenant")
    elif is_admin:
        kept.append("account: the person administers the platform")
    event = DataErased(
        tenant_id=request.tenant_id,
        occurred_at=now,
        erasure_id=request.erasure_id,
        erased=tuple(erased),
        kept=tuple(kept),
    )
    await tell(conn, event, tenant_id=request.tenant_id, aggregate_id=request.erasure_id)
