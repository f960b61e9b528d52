"""F1 for money: billing and tenants are killed at random while people pay: nothing lost, nothing twice."""

import asyncio
import signal
from functools import partial

from faults.money import buyers, each, insist, judge_purchases, open_page, product_of
from faults.rig import Rig
from faults.verdict import Size, Verdict


async def run(rig: Rig, size: Size) -> Verdict:
    product = await product_of(rig)
    # A purchase is at least ten events from the page to the welcome mail.
    count = size.of(1_000, at_least=40, quick=4)
    kills = size.of(20, at_least=6, quick=2)
    verdict = Verdict("F1m", "kill -9 billing and tenants while people pay: one of everything for each buyer", "")
    random = size.random("F1m")
    fake = product.stripe
    emails = buyers("F1m", size.seed, count)
    paid: list[str] = []
    done = asyncio.Event()
    killed = 0

    async def kill() -> None:
        nonlocal killed
        while killed < kills and not done.is_set():
            await asyncio.sleep(random.uniform(0.5, 3.0))
            victim = product.running[random.choice(("billing", "tenants"))]
            victim.signal(signal.SIGKILL)
            killed += 1
            await victim.ready(timeout_s=60)

    async with product.client() as client:

        async def buy(email: str) -> None:
            answer = await insist(lambda: open_page(client, email, f"F1m-{email}"), tries=80)
            if answer is None or answer.status_code != 200:
                verdict.lost += 1
                verdict.notes.append(f"{email}: {answer.text[:200] if answer is not None else 'no answer'}")
                return
            fake.pay(answer.json()["sessionId"])
            paid.append(email)

        killing = asyncio.create_task(kill())
        await each([partial(buy, email) for email in emails], at_once=6)
        await killing
        done.set()
    for name in ("billing", "tenants"):
        await product.running[name].ready(timeout_s=60)
    await fake.settle()
    await judge_purchases(product, verdict, paid)
    verdict.trials = f"{count} purchases, {killed} kills of billing and tenants"
    return verdict
