"""F23: the same purchase is sent 50 times at once: one order, one page, one answer; another body is refused."""

import asyncio

from faults.money import buyers, open_page, product_of
from faults.rig import Rig
from faults.verdict import Size, Verdict


async def run(rig: Rig, size: Size) -> Verdict:
    product = await product_of(rig)
    purchases = size.of(200, at_least=20, quick=3)
    copies = 50 if not size.quick else 20
    verdict = Verdict("F23", "double clicks and repeats under one key: one effect, the same answer", "")
    emails = buyers("F23", size.seed, purchases)
    async with product.client() as client:
        for email in emails:
            answers = await asyncio.gather(*(open_page(client, email, f"F23-{email}") for _ in range(copies)))
            late = await open_page(client, email, f"F23-{email}")
            pages = {answer.json()["sessionId"] for answer in (*answers, late) if answer.status_code == 200}
            others = {answer.status_code for answer in answers} - {200, 409, 503}
            verdict.require(not others, f"answers other than 200, 409 and 503: {others}")
            verdict.require(late.status_code == 200, f"a later repeat was answered {late.status_code}")
            verdict.duplicated += max(0, len(pages) - 1)
            verdict.lost += not pages
            other = await open_page(client, email, f"F23-{email}", planId="essencial")
            verdict.require(other.status_code == 422, f"another body under the key was answered {other.status_code}")
    made = [str(one["customer_email"]) for one in product.stripe.world.all("checkout.session")]
    verdict.duplicated += sum(max(0, made.count(email) - 1) for email in emails)
    rows = await product.rows("SELECT count(*) AS n FROM billing.orders WHERE buyer_email = ANY($1::text[])", emails)
    verdict.require(rows[0]["n"] == purchases, f"{rows[0]['n']} orders for {purchases} purchases")
    verdict.trials = f"{purchases} purchases, {copies} times at once each"
    return verdict
