"""Seed 002's entry for a checkout site: a payment becomes a tenant and its owner."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Database, platform_transaction
from contracts.errors import Malformed, Unauthenticated
from tenants.api.caller import caller_of
from tenants.api.seed_errors import seed_errors
from tenants.domain.emails import normal_email
from tenants.domain.terms import Terms
from tenants.usecases.claim_payment import SitesWord, claim_payment
from tenants.usecases.verify_api_key import verify_api_key

CLAIM = "payments:claim"
ATTEST = "payments:attest"
Text = Annotated[str, msgspec.Meta(max_length=300)]


class SitePayment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the site sends; all but `amount` (minor units) has to be there. More than that is left unread: a payment is
    not lost over a member that we do not know.
    """

    email: Text | None = None
    name: Text | None = None
    plan_id: Text | None = None
    stripe_session_id: Text | None = None
    amount: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None


class ClaimedFacts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Ids, and nothing that opens anything."""

    user_id: UUID
    tenant_id: UUID
    email: str
    is_new_user: bool


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a new claim."""

    success: Literal[True]
    message: str
    data: ClaimedFacts


class AlreadyClaimed(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer to a session that was claimed before."""

    success: Literal[True]
    message: str
    already_processed: Literal[True]


@post("/users/external/create-from-payment", exception_handlers=seed_errors("002"))
async def post_payment(
    data: JSONBody[SitePayment],
    request: StrictRequest,
    db: NamedDependency[Database],
    terms: NamedDependency[Terms],
    clock: NamedDependency[Clock],
) -> Response[Claimed | AlreadyClaimed]:
    """Takes a site's word that a checkout was paid. Nobody comes in by it: access and mail wait for billing's word.

    201 for a new claim, 200 for a session that was claimed before.
    """
    now, caller = clock(), caller_of(request)
    key_id, permissions = await _key_of(request, db, caller.address, now)
    said = _said(data)
    async with platform_transaction(db) as conn:
        claim = await claim_payment(
            conn,
            said,
            key_id=key_id,
            is_attested=ATTEST in permissions,
            caller=caller,
            terms=terms,
            now=now,
        )
    if claim is None:
        already = AlreadyClaimed(success=True, message="Pagamento já processado anteriormente", already_processed=True)
        return Response(already, status_code=200)
    message = (
        "Usuário criado e assinatura ativada com sucesso" if claim.is_new_user else "Assinatura atualizada com sucesso"
    )
    facts = ClaimedFacts(
        user_id=claim.user_id, tenant_id=claim.tenant_id, email=said.email, is_new_user=claim.is_new_user
    )
    return Response(Claimed(success=True, message=message, data=facts), status_code=201)


async def _key_of(request: StrictRequest, db: Database, address: str | None, now: Any) -> tuple[str, frozenset[str]]:
    """The key's id and permissions: as the gateway verified them, else by the key that it passed on.

    Raises Unauthenticated, Forbidden, TooManyRequests.
    """
    identity = request.user
    if identity.kind == "api_key" and CLAIM in identity.permissions:
        return identity.subject, identity.permissions
    bearer = request.headers.get("authorization", "")
    shown = bearer[7:].strip() if bearer[:7].lower() == "bearer " else ""
    shown = shown or request.headers.get("x-api-key", "").strip()
    if not shown:
        raise Unauthenticated("No API key provided", code="no_api_key")
    key, permissions = await verify_api_key(db, shown, address=address, permission=CLAIM, now=now)
    return str(key.id), permissions


def _said(data: SitePayment) -> SitesWord:
    email, name, plan, session = (
        (text or "").strip() for text in (data.email, data.name, data.plan_id, data.stripe_session_id)
    )
    if not (email and name and plan and session):
        raise Malformed("Email, nome, planId e stripeSessionId são obrigatórios", code="missing_fields")
    return SitesWord(
        session_id=session,
        email=normal_email(email),
        name=" ".join(name.split())[:120],
        plan_slug=plan,
        amount_cents=data.amount,
    )


ROUTES = [post_payment]
