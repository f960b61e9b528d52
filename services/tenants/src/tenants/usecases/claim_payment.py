"""Takes a checkout site's word that somebody paid: who they are and what is theirs waits for billing to confirm it."""

from datetime import datetime
from uuid import UUID

import msgspec

from bus.outbox import tell
from chassis.db import Connection
from contracts.audit import AuditActor
from tenants import store
from tenants.domain.callers import Caller
from tenants.domain.claims import ClaimStatus, PaymentClaim, claimed, may_be_claimed_again
from tenants.domain.companies import TenantStatus, name_from, new_tenant
from tenants.domain.doers import Doer
from tenants.domain.identifiers import new_id
from tenants.domain.people import (
    Membership,
    MemberStatus,
    User,
    has_strangers_password,
    is_barred,
    new_membership,
    new_user,
)
from tenants.domain.roles import OWNER
from tenants.domain.sign_in import Belonging
from tenants.domain.terms import Terms
from tenants.usecases.alert_admin import alert_admin
from tenants.usecases.free_slug import free_slug
from tenants.usecases.save_membership import save_membership
from tenants.usecases.save_tenant import save_tenant
from tenants.usecases.tell_deed import tell_deed

#: Whose subscription somebody's payment is for: the tenant that they own, else one that they administer.
_PAYING_ROLES = (OWNER, "admin")


class SitesWord(msgspec.Struct, frozen=True, kw_only=True):
    """What the site says. `email` is in its normal form."""

    session_id: str
    email: str
    name: str
    plan_slug: str
    amount_cents: int | None


async def claim_payment(
    conn: Connection, said: SitesWord, *, key_id: str, is_attested: bool, caller: Caller, terms: Terms, now: datetime
) -> PaymentClaim | None:
    """The claim, told to billing; None where its session was claimed before. In a platform transaction.

    However many come at once, a session is claimed once; one that was refused or ran out may be claimed anew. Whoever
    is new gets a tenant and an account that wait. Somebody with a tenant of theirs claims for that one. Somebody who
    was shut out stays so: the claim stands all the same, and the administrator is told. No mail, no access yet.
    """
    claim_id, tenant_id = new_id(now), new_id(now)
    is_again = not await store.claims.claim_session(conn, tenant_id, said.session_id, claim_id)
    if is_again and not await _may_claim_again(conn, said.session_id):
        return None
    fresh = new_user(new_id(now), said.email, said.name, now)
    user = await store.users.insert_user(conn, fresh)
    # What somebody founded under an address that they never showed to be theirs is not the payer's.
    theirs = None if has_strangers_password(user) else _theirs(await store.users.list_belongings(conn, user.id))
    if theirs is not None:
        tenant_id = theirs.tenant.tenant_id
        membership = theirs.membership
    else:
        membership = await _found(conn, tenant_id, user, said, now)
    await store.claims.move_session(conn, tenant_id, said.session_id, claim_id)
    claim = PaymentClaim(
        tenant_id=tenant_id,
        id=claim_id,
        session_id=said.session_id,
        user_id=user.id,
        email=said.email,
        name=said.name,
        plan_slug=said.plan_slug,
        amount_cents=said.amount_cents,
        is_attested=is_attested,
        is_new_user=user.id == fresh.id,
        is_new_tenant=theirs is None,
        status=ClaimStatus.PENDING,
        reason=None,
        made_by=key_id,
        created_at=now,
        expires_at=now + terms.claim,
        ended_at=None,
    )
    await store.claims.insert_claim(conn, tenant_id, claim)
    await tell(conn, claimed(claim, now), tenant_id=tenant_id, aggregate_id=claim.id, version=1)
    if is_barred(user, membership):
        await alert_admin(
            conn, "barred_user_paid", about=claim.id, terms=terms, now=now, user=str(user.id), tenant=str(tenant_id)
        )
    await tell_deed(
        conn,
        tenant_id,
        "payment.claimed",
        by=Doer(actor=AuditActor(type="api_key", id=key_id), caller=caller),
        kind="payment_claim",
        target_id=claim.id,
        now=now,
        plan=said.plan_slug[:200],
        amount_cents=said.amount_cents,
        attested=is_attested,
        again=is_again,
    )
    return claim


async def _may_claim_again(conn: Connection, session_id: str) -> bool:
    """Whether the session's claim came to nothing. The session is kept from others."""
    used_for = await store.claims.lock_session(conn, session_id)
    claim = None if used_for is None else await store.claims.find_claim(conn, *used_for)
    return claim is not None and may_be_claimed_again(claim)


def _theirs(belongings: list[Belonging]) -> Belonging | None:
    open_ones = [one for one in belongings if one.tenant.status is not TenantStatus.CLOSED]
    return next((one for role in _PAYING_ROLES for one in open_ones if one.membership.role == role), None)


async def _found(conn: Connection, tenant_id: UUID, user: User, said: SitesWord, now: datetime) -> Membership:
    """A tenant that waits, and its owner who waits with it."""
    name = name_from(said.name, said.email)
    tenant = new_tenant(tenant_id, name, await free_slug(conn, tenant_id, name), TenantStatus.PENDING, now)
    await save_tenant(conn, None, tenant, now=now)
    owner = new_membership(user, tenant_id, OWNER, MemberStatus.PENDING, now, name=said.name)
    return await save_membership(conn, None, owner, user=user, now=now)
