"""F14: a subscription's webhooks come shuffled, doubled and late: its end is the provider's, whatever their order."""

from functools import partial
from typing import Any

from faults.money import buyers, each, open_page, product_of
from faults.rig import Rig
from faults.verdict import Size, Verdict


async def run(rig: Rig, size: Size) -> Verdict:
    product = await product_of(rig)
    count = size.of(200, at_least=20, quick=4)
    verdict = Verdict("F14", "webhooks shuffled, doubled and late: the same final state as in order", "")
    random = size.random("F14")
    fake = product.stripe
    await fake.settle()
    fake.sender.hold = True
    started = len(fake.events)
    pages: dict[str, str] = {}
    try:
        async with product.client() as client:

            async def open_one(email: str) -> None:
                answer = await open_page(client, email, f"F14-{email}")
                pages[email] = answer.json()["sessionId"]

            await each([partial(open_one, email) for email in buyers("F14", size.seed, count)])
        lives: dict[str, Any] = {}
        for email, session_id in pages.items():
            fake.pay(session_id)
            subscription = fake.world.get("checkout.session", session_id)["subscription"]
            lives[email] = subscription
            for _ in range(random.randint(0, 2)):
                invoice = fake.renew(subscription, paid=random.random() < 0.7)
                if invoice["status"] == "open" and random.random() < 0.7:
                    fake.retry_invoice(invoice["id"])
            if random.random() < 0.3:
                fake.cancel(subscription)
        events = [event for event in fake.events[started:] for _ in range(random.choice((1, 1, 2)))]
        random.shuffle(events)
        statuses: list[int | None] = []

        async def deliver(event: Any) -> None:
            statuses.extend(await fake.deliver(event))

        await each([partial(deliver, event) for event in events], at_once=12)
        fake.sender.held.clear()
    finally:
        fake.sender.hold = False
    await product.at_rest()
    verdict.require(set(statuses) == {200}, f"answers other than 200: {set(statuses)}")
    for email, subscription_id in lives.items():
        await _compare(product, verdict, email, subscription_id)
    verdict.trials = f"{count} subscriptions, {len(events)} deliveries in random order"
    return verdict


async def _compare(product: Any, verdict: Verdict, email: str, subscription_id: str) -> None:
    world = product.stripe.world
    theirs = world.get("subscription", subscription_id)
    paid = [one for one in world.all("invoice") if one["_subscription"] == subscription_id and one["status"] == "paid"]
    rows = await product.rows(
        """
        SELECT s.status, (SELECT count(*) FROM billing.invoices i
                          WHERE i.tenant_id = s.tenant_id AND i.status = 'paid') AS paid
        FROM billing.subscriptions s WHERE s.external_id = $1
        """,
        subscription_id,
    )
    wanted = {"active": "active", "canceled": "cancelled", "past_due": "past_due"}[theirs["status"]]
    if len(rows) != 1:
        verdict.lost += 1
        verdict.notes.append(f"{email}: {len(rows)} subscriptions")
        return
    (row,) = rows
    # Access may have been suspended by dunning since; nothing else may differ.
    verdict.require(row["status"] == wanted, f"{email}: {row['status']} where Stripe has {theirs['status']}")
    verdict.lost += max(0, len(paid) - row["paid"])
    verdict.duplicated += max(0, row["paid"] - len(paid))
    created = product.events("billing.subscription.created.v1")
    mine = [event for event in created if event["data"]["plan"]["plan_slug"]]
    ids = [event["data"]["subscription_id"] for event in mine]
    verdict.require(len(ids) == len(set(ids)), "a subscription was told as created by two events")
