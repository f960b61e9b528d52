"""Plans at Stripe: a product under an id made of ours, and its prices, found again by their lookup keys."""

from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from billing.domain.providers import Interval, NotAtProvider, PlanPushed
from billing.stripe_api.shapes import Listed, Price, Ref
from billing.stripe_api.transport import Transport, object_path

PlanPrice = tuple[UUID, int, str, Interval]

_LOOKUP_KEYS_AT_ONCE: Final = 10  # the most that Stripe takes


async def push_plan(
    transport: Transport,
    plan_id: UUID,
    name: str,
    description: str,
    prices: Sequence[PlanPrice],
    *,
    product_external_id: str | None,
    key: str,
) -> PlanPushed:
    """Makes or updates the product, then makes the prices that are not there. Pushing twice leaves one of each."""
    product_id = product_external_id or f"plan_{plan_id.hex}"
    shown = {"name": name, "description": description, "metadata": {"plan_id": str(plan_id)}}
    try:
        await transport.post(object_path("products", product_id), Ref, shown, f"{key}:product")
    except NotAtProvider:
        made = {name: value for name, value in shown.items() if value}  # Stripe refuses an empty description here
        await transport.post("/v1/products", Ref, {"id": product_id, **made}, f"{key}:product:new")
    found = await _find_prices(transport, [str(price_id) for price_id, _, _, _ in prices])
    for price_id, amount_cents, currency, interval in prices:
        if price_id not in found:
            params: dict[str, Any] = {
                "product": product_id,
                "currency": currency.lower(),
                "unit_amount": amount_cents,
                "recurring": {"interval": interval.value},
                "lookup_key": str(price_id),
                "metadata": {"price_id": str(price_id)},
            }
            made_price = await transport.post("/v1/prices", Price, params, f"{key}:price:{price_id}")
            found[price_id] = made_price.id
    return PlanPushed(product_external_id=product_id, price_external_ids=found)


async def _find_prices(transport: Transport, lookup_keys: Sequence[str]) -> dict[UUID, str]:
    found: dict[UUID, str] = {}
    for some in _batches(lookup_keys):
        params = {"lookup_keys": some, "limit": _LOOKUP_KEYS_AT_ONCE}
        page = await transport.get("/v1/prices", Listed[Price], params)
        found |= {UUID(price.lookup_key): price.id for price in page.data if price.lookup_key}
    return found


def _batches(keys: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(keys), _LOOKUP_KEYS_AT_ONCE):
        yield list(keys[start : start + _LOOKUP_KEYS_AT_ONCE])
