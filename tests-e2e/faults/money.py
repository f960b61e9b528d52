"""What the rows about money share: the whole product, started by the first of them, and payments to make with it."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx
from product import Product

from faults.rig import Rig
from faults.verdict import Verdict

_products: dict[int, Product] = {}


async def product_of(rig: Rig) -> Product:
    """The product on this rig; it is stopped by `stop_products`."""
    if id(rig) not in _products:
        whole = Product(rig)
        await whole.start()
        _products[id(rig)] = whole
    return _products[id(rig)]


async def stop_products() -> None:
    """Stop what `product_of` started."""
    while _products:
        await _products.popitem()[1].stop()


def buyers(row: str, seed: int, count: int) -> list[str]:
    """Addresses of this row."""
    return [f"{row.lower()}-{seed}-{number}-{uuid.uuid4().hex[:6]}@buyer.example.org" for number in range(count)]


async def open_page(client: httpx.AsyncClient, email: str, key: str, **fields: Any) -> httpx.Response:
    """Ask for a payment page, once for this key however often."""
    body = {"planId": "profissional", "userEmail": email, "countryCode": "US", **fields}
    return await client.post("/payments/intent", json=body, headers={"Idempotency-Key": key})


async def insist(ask: Callable[[], Awaitable[httpx.Response]], *, tries: int = 40) -> httpx.Response | None:
    """The first answer that is no 503, as a patient client gets it; None when there is none."""
    for attempt in range(tries):
        try:
            answer = await ask()
        except httpx.HTTPError:
            answer = None
        if answer is not None and answer.status_code not in (409, 502, 503, 504):
            return answer
        await asyncio.sleep(min(2.0, 0.1 * (attempt + 1)))
    return None


async def each(jobs: Sequence[Callable[[], Awaitable[None]]], *, at_once: int = 16) -> None:
    """Run them, so many at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one(job: Callable[[], Awaitable[None]]) -> None:
        async with gate:
            await job()

    await asyncio.gather(*(one(job) for job in jobs))


async def judge_purchases(product: Product, verdict: Verdict, paid: Sequence[str]) -> None:
    """Each of these buyers paid once: one order, invoice, payment, subscription, tenant, owner, receipt; none twice."""
    await product.at_rest()
    rows = await product.rows(
        """
        SELECT o.buyer_email AS email, o.status, o.tenant_id,
               (SELECT count(*) FROM billing.orders x WHERE x.buyer_email = o.buyer_email) AS orders,
               (SELECT count(*) FROM billing.invoices i WHERE i.tenant_id = o.tenant_id AND i.status = 'paid')
                   AS invoices,
               (SELECT count(*) FROM billing.payments p WHERE p.tenant_id = o.tenant_id AND p.status = 'paid')
                   AS payments,
               (SELECT count(*) FROM billing.subscriptions s WHERE s.tenant_id = o.tenant_id AND s.status = 'active')
                   AS subscriptions,
               (SELECT count(*) FROM tenants.tenants t WHERE t.tenant_id = o.tenant_id AND t.status = 'active')
                   AS tenants,
               (SELECT count(*) FROM tenants.memberships m WHERE m.tenant_id = o.tenant_id AND m.role = 'owner')
                   AS owners
        FROM billing.orders o WHERE o.buyer_email = ANY($1::text[])
        """,
        list(paid),
    )
    found = {row["email"]: row for row in rows}
    counted = ("orders", "invoices", "payments", "subscriptions", "tenants", "owners")
    for email in paid:
        row = found.get(email)
        if row is None or row["status"] != "paid" or any(row[name] == 0 for name in counted):
            verdict.lost += 1
            verdict.notes.append(f"lost: {email}: {row}")
        elif any(row[name] > 1 for name in counted):
            verdict.duplicated += 1
            verdict.notes.append(f"doubled: {email}: {row}")
    received = Counter(
        (str(to), str(mail.message_id)) for mail in product.rig.smtp.accepted for to in mail.recipients if to in found
    )
    by_buyer = Counter(to for to, _ in received)
    missing = [email for email in paid if by_buyer[email] < 2]  # a receipt and a welcome
    doubled = [email for email in paid if by_buyer[email] > 2]
    verdict.require(not missing, f"{len(missing)} buyers got fewer than two mails: {missing[:3]}")
    verdict.require(not doubled, f"{len(doubled)} buyers got more than two different mails: {doubled[:3]}")
    told = Counter(event["data"]["order_id"] for event in product.events("billing.order.paid.v1"))
    verdict.require(max(told.values(), default=0) <= 1, "an order was told as paid by two events")
