"""What every route that sells shares: who may, one order and one page for one Idempotency-Key, names with aliases."""

from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from billing.accounts import Accounts
from billing.domain.buyers import Buyer
from billing.domain.orders import Order
from billing.domain.providers import Provider
from billing.domain.selling import SellingTerms, Wanted
from billing.usecases.open_checkout import open_checkout
from billing.usecases.place_order import place_order
from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Connection, Database
from chassis.idempotency import once
from chassis.secrets import SecretBox
from contracts.errors import FieldError, Invalid, Unauthenticated, Unavailable

T = TypeVar("T")

REPLAYED: Final = "Idempotency-Replayed"


class _Placed(msgspec.Struct, frozen=True):
    order_id: UUID


async def sell_page(
    request: StrictRequest,
    data: msgspec.Struct,
    buyer: Buyer,
    wanted: Wanted,
    provider: Provider,
    *,
    source: str,
    success_url: str,
    cancel_url: str,
    db: Database,
    accounts: Accounts,
    box: SecretBox,
    terms: SellingTerms,
    clock: Clock,
) -> tuple[Order, dict[str, str]]:
    """The order with its page, and the header that says whether it was placed before.

    An Idempotency-Key is kept with the order, which is committed before the provider is asked, and the call's own key
    is made of the order's id: a repeat finds the order and by it the page, even where the first answer was lost. Raises
    what `place_order` and `open_checkout` do.
    """

    async def place(conn: Connection) -> _Placed:
        placed = await place_order(
            conn,
            buyer,
            wanted,
            provider=provider,
            has_trial=provider is Provider.STRIPE,
            source=source,
            box=box,
            terms=terms,
            now=clock(),
        )
        return _Placed(placed.order.id)

    stored = await once(request, db, data, place, tenant_id=buyer.tenant_id)
    order = await open_checkout(
        db,
        accounts,
        buyer,
        msgspec.json.decode(stored.content, type=_Placed).order_id,
        success_url=success_url,
        cancel_url=cancel_url,
        box=box,
        terms=terms,
        clock=clock,
    )
    return order, {REPLAYED: "true"} if REPLAYED in stored.headers else {}


def refuse_unconfigured(accounts: Accounts, provider: Provider) -> None:
    """Nothing, where the platform has an account there. Raises Unavailable."""
    if provider not in accounts.platform.configured:
        raise Unavailable(f"{provider.value} is not configured.", code="provider_not_configured", retry_after_s=60)


def signed_in(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard that raises Unauthenticated for whoever is not signed in."""
    if connection.scope["user"].kind in ("public", "webhook"):
        raise Unauthenticated("Sign in first.")


def one_of(field: str, *values: T | None) -> T | None:
    """The value that was given under any of a field's names. Raises Invalid for two that differ."""
    given = {value for value in values if value is not None}
    if len(given) > 1:
        raise Invalid("The body is refused.", errors=(FieldError(f"$.{field}", "is given twice, and differently"),))
    return next(iter(given), None)
