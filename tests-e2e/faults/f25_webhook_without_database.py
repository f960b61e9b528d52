"""F25: webhooks while the database is away are never answered 2xx; told again, each has its effect once."""

import asyncio
from functools import partial

from product import Product

from faults.money import buyers, each, judge_purchases, open_page, product_of
from faults.rig import Rig
from faults.verdict import Size, Verdict
from testkit.fault_modes import Pass, Refuse


async def run(rig: Rig, size: Size) -> Verdict:
    product = await product_of(rig)
    count = size.of(1_000, at_least=60, quick=4)
    verdict = Verdict("F25", "no webhook is acknowledged before its row is stored", "")
    fake = product.stripe
    await fake.settle()
    emails = buyers("F25", size.seed, count)
    sessions: dict[str, str] = {}
    async with product.client() as client:

        async def open_one(email: str) -> None:
            sessions[email] = (await open_page(client, email, f"F25-{email}")).json()["sessionId"]

        await each([partial(open_one, email) for email in emails])
    await product.at_rest()
    fake.sender.hold = True
    acknowledged = 0
    try:
        for session_id in sessions.values():
            fake.pay(session_id)
        events = list(fake.sender.held)
        stored = await _stored(product)
        await rig.postgres_link.become(Refuse())
        rig.postgres_link.reset_all()
        await asyncio.sleep(0.2)

        async def deliver(event: dict[str, object]) -> None:
            nonlocal acknowledged
            answers = await fake.deliver(event)
            acknowledged += sum(1 for status in answers if status is not None and 200 <= status < 300)

        await each([partial(deliver, event) for event in events[: max(20, len(events) // 4)]], at_once=16)
        await rig.postgres_link.become(Pass())
        verdict.lost += max(0, acknowledged - (await _stored(product) - stored))
        again: list[int | None] = []

        async def insist_on(event: dict[str, object]) -> None:
            for _ in range(60):
                answers = await fake.deliver(event)
                if answers == [200]:
                    return
                await asyncio.sleep(0.5)
            again.extend(answers)

        await each([partial(insist_on, event) for event in events], at_once=12)
        verdict.require(not again, f"never acknowledged: {again[:5]}")
        fake.sender.held.clear()
    finally:
        await rig.postgres_link.become(Pass())
        fake.sender.hold = False
    await judge_purchases(product, verdict, emails)
    verdict.trials = f"{count} payments, {len(events)} webhooks, {acknowledged} acknowledged without a database"
    verdict.require(acknowledged == 0, f"{acknowledged} webhooks were acknowledged without a database")
    return verdict


async def _stored(product: Product) -> int:
    rows = await product.rows("SELECT count(*) AS n FROM billing.provider_events")
    return int(rows[0]["n"])
