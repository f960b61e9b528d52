"""Tells n8n of purchases, each until it has taken it: an outage of hours loses none."""

from datetime import timedelta
from typing import Final

import msgspec

from billing import store
from billing.domain.charging import PURCHASE_NOTICE
from billing.domain.providers import Provider, ProviderRefused, ProviderUnavailable
from billing.n8n_api import N8nApi
from billing.store.provider_calls import ProviderCall
from billing.usecases.plan_purchase_notice import PurchaseNotice
from billing.usecases.run_each import run_each
from chassis.clock import Clock
from chassis.db import Database, platform_transaction, transaction
from contracts.errors import ServiceError

_BATCH: Final = 50
_LEASE_S: Final = 60.0
_GIVE_UP_AFTER: Final = timedelta(days=7)
#: Seed 002's checkout calls PagBank by its older name, as `/payments/intent` does.
_WORDS: Final = {Provider.PAGBANK: "pagseguro"}


async def send_purchase_notices(db: Database, n8n: N8nApi, *, clock: Clock) -> dict[str, int]:
    """Counts of notices that were due. One that n8n has taken is never told again; one whose answer was lost is.

    A notice is tried at once, after one minute, two, four, and so on up to an hour, for a week.
    """
    async with platform_transaction(db) as conn:
        calls = await store.provider_calls.list_open(conn, PURCHASE_NOTICE, clock(), first_after_s=0, limit=_BATCH)

    async def act(glimpse: ProviderCall) -> bool:
        async with transaction(db, glimpse.tenant_id) as conn:
            call = await store.provider_calls.claim_call(conn, glimpse.tenant_id, glimpse.id, lease_s=_LEASE_S)
            if call is None:
                return False
            order_id = msgspec.convert(call.params, PurchaseNotice).order_id
            order = await store.orders.get_order(conn, call.tenant_id, order_id)
        body = {
            "orderId": str(order.id),
            "email": order.buyer_email or "",
            "plan": order.plan_slug,
            "amount": order.amount_cents,
            "provider": _WORDS.get(order.provider, order.provider.value),
        }
        try:
            await n8n.tell_purchase(body)
        except ServiceError as failure:
            is_final = isinstance(failure, ProviderRefused) or clock() > call.created_at + _GIVE_UP_AFTER
            did_nothing = isinstance(failure, ProviderUnavailable) and call.status == "planned"
            status = "refused" if is_final else "planned" if did_nothing else "unknown"
            await _end(db, call, status, failure.detail, clock)
            raise
        await _end(db, call, "done", None, clock)
        return True

    return await run_each("purchase_notices", calls, act)


async def _end(db: Database, call: ProviderCall, status: str, error: str | None, clock: Clock) -> None:
    async with transaction(db, call.tenant_id) as conn:
        await store.provider_calls.mark_ended(
            conn,
            call.tenant_id,
            call.id,
            status=status,
            result={} if status == "done" else None,
            error=error,
            now=clock(),
        )
