"""Claims: a checkout site's word that somebody paid, until billing says whether they did."""

from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from contracts.tenants import PaymentClaimed


class ClaimStatus(StrEnum):
    """Where a claim stands. Money that came after all still counts: only `confirmed` is the end."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    EXPIRED = "expired"


NEXT: Final = {
    ClaimStatus.PENDING: {ClaimStatus.CONFIRMED, ClaimStatus.REFUSED, ClaimStatus.EXPIRED},
    ClaimStatus.REFUSED: {ClaimStatus.CONFIRMED},
    ClaimStatus.EXPIRED: {ClaimStatus.CONFIRMED, ClaimStatus.REFUSED},
    ClaimStatus.CONFIRMED: set[ClaimStatus](),
}


class PaymentClaim(msgspec.Struct, frozen=True, kw_only=True):
    """One row of payment_claims. `amount_cents` is the site's word; billing compares it."""

    tenant_id: UUID
    id: UUID
    session_id: str
    user_id: UUID
    email: str | None
    name: str | None
    plan_slug: str
    amount_cents: int | None
    is_attested: bool
    is_new_user: bool
    is_new_tenant: bool
    status: ClaimStatus
    reason: str | None
    made_by: str
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None


def ended(claim: PaymentClaim, status: ClaimStatus, now: datetime, reason: str | None = None) -> PaymentClaim:
    """The claim in that state; itself where it cannot go there."""
    if status not in NEXT[claim.status]:
        return claim
    return msgspec.structs.replace(claim, status=status, reason=reason and reason[:500], ended_at=now)


def may_be_claimed_again(claim: PaymentClaim) -> bool:
    """Whether its session may be claimed anew: it came to nothing, and a site that repeats it may know better now."""
    return claim.status in (ClaimStatus.REFUSED, ClaimStatus.EXPIRED)


def claimed(claim: PaymentClaim, now: datetime) -> PaymentClaimed:
    """The event that says so."""
    return PaymentClaimed(
        claim_id=claim.id,
        tenant_id=claim.tenant_id,
        user_id=claim.user_id,
        email=claim.email or "",
        name=claim.name or "",
        plan_slug=claim.plan_slug,
        session_id=claim.session_id,
        amount_cents=claim.amount_cents,
        is_attested=claim.is_attested,
        occurred_at=now,
    )
