"""F24: one webhook is delivered 50 times at once, to two instances of billing: one effect, every answer 2xx."""

import asyncio
import time
from functools import partial

from product import Product

from faults.money import buyers, each, judge_purchases, open_page, product_of
from faults.rig import Rig
from faults.verdict import Size, Verdict


async def run(rig: Rig, size: Size) -> Verdict:
    product = await product_of(rig)
    async with product.second_billing():
        return await _judged(product, size)


async def _judged(product: Product, size: Size) -> Verdict:
    count = size.of(200, at_least=20, quick=2)
    copies = 50 if not size.quick else 20
    verdict = Verdict("F24", "one webhook many times at once: one effect, every answer 2xx", "")
    fake = product.stripe
    await fake.settle()
    emails = buyers("F24", size.seed, count)
    sessions: dict[str, str] = {}
    async with product.client() as client:

        async def open_one(email: str) -> None:
            sessions[email] = (await open_page(client, email, f"F24-{email}")).json()["sessionId"]

        await each([partial(open_one, email) for email in emails])
    fake.sender.hold = True
    took: list[float] = []
    statuses: list[int | None] = []
    try:
        for session_id in sessions.values():
            fake.pay(session_id)
        for event in list(fake.sender.held):
            times = copies // 2 if event["type"] == "checkout.session.completed" else 1  # each goes to both instances

            async def deliver(event: dict[str, object] = event) -> None:
                began = time.monotonic()
                statuses.extend(await fake.deliver(event))
                took.append(time.monotonic() - began)

            await asyncio.gather(*(deliver() for _ in range(times)))
        fake.sender.held.clear()
    finally:
        fake.sender.hold = False
    verdict.require(set(statuses) == {200}, f"answers other than 200: {set(statuses)}")
    took.sort()
    p99 = took[int(len(took) * 0.99) - 1] if took else 0.0
    verdict.require(p99 <= size.within_s(1.0), f"p99 of the answers is {p99:.2f} s")
    await judge_purchases(product, verdict, emails)
    verdict.trials = f"{count} payments, {copies} deliveries at once each, to two instances; p99 {p99 * 1000:.0f} ms"
    return verdict
