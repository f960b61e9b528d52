"""F18: Stripe refuses, fails, hangs up and stores errors while pages are asked for: one page an order, none lost."""

from functools import partial

from faults.money import buyers, each, insist, open_page, product_of
from faults.rig import Rig
from faults.verdict import Size, Verdict
from testkit.fake_http import Fault


async def run(rig: Rig, size: Size) -> Verdict:
    product = await product_of(rig)
    count = size.of(1_000, at_least=100, quick=12)
    verdict = Verdict("F18", "a provider that fails: one payment page for each order, none lost", "")
    random = size.random("F18")
    fake = product.stripe
    kinds = (Fault.REFUSE_429, Fault.FAIL_500, Fault.FAIL_500_AFTER, Fault.DROP_REPLY, Fault.GARBAGE)
    fake.server.faulty = lambda request: request.method == "POST"
    fake.server.faults = [random.choice(kinds) if random.random() < 0.3 else None for _ in range(count * 6)]
    answered: dict[str, str] = {}
    emails = buyers("F18", size.seed, count)
    try:
        async with product.client() as client:

            async def one(email: str) -> None:
                answer = await insist(lambda: open_page(client, email, f"F18-{email}"), tries=60)
                if answer is None or answer.status_code != 200:
                    verdict.lost += 1
                    verdict.notes.append(f"{email}: {answer.text[:200] if answer is not None else 'no answer'}")
                else:
                    answered[email] = answer.json()["sessionId"]

            await each([partial(one, email) for email in emails], at_once=8)
    finally:
        fake.server.faults.clear()
        fake.server.faulty = lambda _: True
    sessions: dict[str, list[str]] = {email: [] for email in emails}
    for session in fake.world.all("checkout.session"):
        sessions.get(str(session["customer_email"]), []).append(session["id"])
    for email, session_id in answered.items():
        made = sessions[email]
        verdict.duplicated += max(0, len(made) - 1)
        verdict.lost += session_id not in made
    orders = await product.rows(
        "SELECT buyer_email, count(*) AS n FROM billing.orders WHERE buyer_email = ANY($1::text[]) GROUP BY 1", emails
    )
    verdict.require(all(row["n"] == 1 for row in orders), "an address has two orders under one key")
    verdict.trials = f"{count} checkouts, 30 % of calls failing in {len(kinds)} ways"
    return verdict
