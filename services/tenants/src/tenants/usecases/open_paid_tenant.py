"""Gives what a paid order is for: its tenant, the owner's access, and the mail by which they come in."""

from datetime import datetime

import msgspec

from chassis.db import Connection
from contracts.billing import OrderPaid
from contracts.errors import Invalid
from tenants import store
from tenants.domain.claims import ClaimStatus, ended
from tenants.domain.companies import Tenant, TenantStatus, is_waiting, name_from, new_tenant
from tenants.domain.doers import BILLING
from tenants.domain.emails import normal_email
from tenants.domain.identifiers import new_id
from tenants.domain.people import MemberStatus, User, UserStatus, is_barred, new_membership, new_user
from tenants.domain.roles import OWNER
from tenants.domain.subscriptions import of_order, with_subscriptions
from tenants.domain.terms import Terms
from tenants.usecases.alert_admin import alert_admin
from tenants.usecases.drop_strangers_password import drop_strangers_password
from tenants.usecases.free_slug import free_slug
from tenants.usecases.save_membership import save_membership
from tenants.usecases.save_tenant import save_tenant
from tenants.usecases.settle_tenant import settle_tenant
from tenants.usecases.tell_deed import tell_deed
from tenants.usecases.welcome_user import welcome_user


async def open_paid_tenant(conn: Connection, event: OrderPaid, *, terms: Terms, now: datetime) -> None:
    """In a platform transaction; told twice, or after what came later, it changes nothing more.

    A tenant that is new or waits is opened, and the buyer is its owner: an account that exists is given the membership,
    a new one waits for its owner to choose a password by the link in the welcome mail. A tenant that is open already
    has its people: its order changes only what it may have. Nobody who was shut out comes in by paying, and a closed
    tenant stays closed: of both the administrator is told.
    """
    if event.sold_by != "platform":
        return
    await store.tenants.hold_tenant_id(conn, event.tenant_id)
    await store.subscriptions.note_subscription(conn, event.tenant_id, of_order(event))
    found = await store.tenants.find_tenant(conn, event.tenant_id)
    if found is None or is_waiting(found):
        owner = await _owner(conn, event, now)
        tenant = await _open(conn, event, owner, terms, now)
        if owner is None:
            await alert_admin(
                conn, "order_without_owner", about=event.order_id, terms=terms, now=now, tenant=str(event.tenant_id)
            )
        else:
            await _give_access(conn, tenant, owner, event, terms, now)
    else:
        await settle_tenant(conn, event.tenant_id, terms=terms, now=now)
        if found.status is TenantStatus.CLOSED:
            await alert_admin(
                conn, "closed_tenant_paid", about=event.order_id, terms=terms, now=now, tenant=str(event.tenant_id)
            )
    await _confirm_claim(conn, event, now)


async def _owner(conn: Connection, event: OrderPaid, now: datetime) -> User | None:
    """Whose the tenant is to be, locked; None for an order without an address that can be used."""
    claim = None if event.claim_id is None else await store.claims.find_claim(conn, event.tenant_id, event.claim_id)
    if claim is not None:  # whom the site named, whatever their address has become since
        return await store.users.lock_user(conn, claim.user_id)
    try:
        email = normal_email(event.buyer_email or "")
    except Invalid:
        return None
    name = " ".join((event.buyer_name or "").split())[:120] or email.partition("@")[0]
    return await store.users.insert_user(conn, new_user(new_id(now), email, name, now))


async def _open(conn: Connection, event: OrderPaid, owner: User | None, terms: Terms, now: datetime) -> Tenant:
    before = await store.tenants.lock_tenant(conn, event.tenant_id)
    if before is None:
        name = name_from(event.buyer_name, owner.email if owner is not None else None)
        slug = await free_slug(conn, event.tenant_id, name)
        after = new_tenant(event.tenant_id, name, slug, TenantStatus.ACTIVE, now)
    else:
        after = msgspec.structs.replace(before, status=TenantStatus.ACTIVE, status_reason=None)
    rows = await store.subscriptions.list_subscriptions(conn, event.tenant_id)
    stored = await save_tenant(conn, before, with_subscriptions(after, rows, terms.grace), now=now)
    await tell_deed(
        conn,
        event.tenant_id,
        "tenant.opened",
        by=BILLING,
        kind="tenant",
        target_id=event.tenant_id,
        now=now,
        order=str(event.order_id),
        plan=event.plan.plan_slug,
    )
    return stored


async def _give_access(
    conn: Connection, tenant: Tenant, owner: User, event: OrderPaid, terms: Terms, now: datetime
) -> None:
    before = await store.memberships.find_membership(conn, tenant.tenant_id, owner.id)
    if is_barred(owner, before):
        await alert_admin(
            conn,
            "barred_user_paid",
            about=event.order_id,
            terms=terms,
            now=now,
            user=str(owner.id),
            tenant=str(tenant.tenant_id),
        )
    if before is None:
        owner = await drop_strangers_password(conn, owner, now=now) if not is_barred(owner) else owner
        after = new_membership(owner, tenant.tenant_id, OWNER, MemberStatus.ACTIVE, now)
        await save_membership(conn, None, after, user=owner, now=now)
    elif before.status is MemberStatus.PENDING:
        owner = await drop_strangers_password(conn, owner, now=now) if not is_barred(owner) else owner
        before = await store.memberships.get_membership(conn, tenant.tenant_id, owner.id)
        after = msgspec.structs.replace(before, status=MemberStatus.ACTIVE)
        await save_membership(conn, before, after, user=owner, now=now)
    else:
        return
    is_welcomed = await store.links.has_open_link(conn, owner.id, "set_password", now)
    if owner.status is UserStatus.PENDING and not is_welcomed:  # another mail would make that one's link worthless
        await welcome_user(conn, owner, tenant, terms=terms, now=now)


async def _confirm_claim(conn: Connection, event: OrderPaid, now: datetime) -> None:
    if event.claim_id is None:
        return
    before = await store.claims.lock_claim(conn, event.tenant_id, event.claim_id)
    if before is None:
        return
    after = ended(before, ClaimStatus.CONFIRMED, now)
    if after != before:
        await store.claims.update_claim(conn, event.tenant_id, after)
        await tell_deed(
            conn,
            event.tenant_id,
            "payment_claim.confirmed",
            by=BILLING,
            kind="payment_claim",
            target_id=before.id,
            now=now,
            order=str(event.order_id),
        )
