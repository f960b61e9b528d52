"""Asks somebody to join a tenant, by a mail whose link works once."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from contracts.errors import Conflict
from tenants import store
from tenants.domain.brand import brand_of
from tenants.domain.doers import Doer
from tenants.domain.identifiers import new_id
from tenants.domain.invitations import Invitation, InvitationStatus
from tenants.domain.roles import Powers
from tenants.domain.sign_in_limits import MAILS
from tenants.domain.terms import Terms
from tenants.domain.tokens import new_token, sha256_of
from tenants.usecases.count_tries import count_tries
from tenants.usecases.find_roles import find_roles
from tenants.usecases.queue_mail import queue_mail
from tenants.usecases.tell_deed import tell_deed


async def invite_member(
    conn: Connection,
    tenant_id: UUID,
    email: str,
    role: str,
    *,
    name: str | None,
    powers: Powers,
    by: Doer,
    terms: Terms,
    now: datetime,
) -> Invitation:
    """The invitation. In a platform transaction. It is the same whether the address has an account or not.

    Raises Conflict for whoever is in the tenant or is invited already, Forbidden for a role beyond the caller's own,
    Invalid for one that there is none of, TooManyRequests for an address that we wrote to too often: an invitation
    can be withdrawn and sent again.
    """
    roles = await find_roles(conn, tenant_id, role)
    powers.refuse_role(role, roles[role])
    tenant = await store.tenants.get_tenant(conn, tenant_id)
    user = await store.users.find_user_by_email(conn, email)
    if user is not None and await store.memberships.find_membership(conn, tenant_id, user.id) is not None:
        raise Conflict("This person is in the tenant already.", code="already_member")
    invitation = Invitation(
        tenant_id=tenant_id,
        id=new_id(now),
        email=email,
        name=name,
        role=role,
        status=InvitationStatus.OPEN,
        invited_by=by.actor.id,
        expires_at=now + terms.invitation,
        created_at=now,
        ended_at=None,
    )
    if refusal := await count_tries(conn, (MAILS, email)):
        raise refusal
    await store.invitations.withdraw_late(conn, tenant_id, email, now)
    if not await store.invitations.insert_invitation(conn, tenant_id, invitation):
        raise Conflict("An invitation to this address is open.", code="already_invited")
    token = new_token()
    # Whoever is invited may have no account: the link is the invitation's own.
    await store.links.insert_link(
        conn,
        sha256_of(token),
        user_id=invitation.id,
        purpose="invitation",
        tenant_id=tenant_id,
        object_id=invitation.id,
        now=now,
        lifetime=terms.invitation,
    )
    await queue_mail(
        conn,
        "account_invitation",
        email,
        {
            "name": name or "",
            "inviter": by.name or "",
            "link": terms.link("accept-invitation", token),
            "valid_days": terms.invitation.days,
            **brand_of(tenant),
        },
        name=name,
        about=invitation.id,
        key=f"account_invitation:{invitation.id}",
    )
    await tell_deed(
        conn, tenant_id, "invitation.created", by=by, kind="invitation", target_id=invitation.id, now=now, role=role
    )
    return invitation
