"""Takes an invitation back; its link is good for nothing from then on."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection
from contracts.errors import Conflict
from tenants import store
from tenants.domain.doers import Doer
from tenants.domain.invitations import InvitationStatus
from tenants.domain.roles import Powers
from tenants.usecases.find_roles import find_roles
from tenants.usecases.tell_deed import tell_deed


async def withdraw_invitation(
    conn: Connection, tenant_id: UUID, invitation_id: UUID, *, powers: Powers, by: Doer, now: datetime
) -> None:
    """In a platform transaction. Raises NotFound, Forbidden for a role beyond theirs, Conflict for an ended one."""
    invitation = await store.invitations.lock_invitation(conn, tenant_id, invitation_id)
    roles = await find_roles(conn, tenant_id)
    powers.refuse_role(invitation.role, roles.get(invitation.role, ()))
    if invitation.status is not InvitationStatus.OPEN:
        raise Conflict(f"This invitation is {invitation.status.value}.", code="wrong_state")
    await store.invitations.mark_ended(conn, tenant_id, invitation_id, InvitationStatus.WITHDRAWN.value, now)
    await store.links.spend_links(conn, invitation_id, ["invitation"], now)
    await tell_deed(conn, tenant_id, "invitation.withdrawn", by=by, kind="invitation", target_id=invitation_id, now=now)
