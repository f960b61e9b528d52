"""F29: the parts come up in any order: a service that lacks one lives, is not ready, does not die, is ready soon."""

import asyncio
import time

import httpx
from stack import Supervised

from faults.load import jobs, publish
from faults.rig import Rig
from faults.trial import Trial
from faults.verdict import Size, Verdict
from testkit.fault_modes import Pass, Refuse

READY_WITHIN_S = 15.0
GAP_S = 1.5
PARTS = ("postgres", "broker", "mailer", "gateway")


async def run(rig: Rig, size: Size) -> Verdict:
    orders = size.of(20, at_least=2, quick=1)
    verdict = Verdict("F29", "parts start in any order: services wait, alive, then are ready", "")
    trial = Trial(rig, size, verdict)
    random = trial.random
    slowest = 0.0
    work = jobs("F29", orders * 5, [str(one) for one in rig.tenants], seed=size.seed)
    for number in range(orders):
        order = list(PARTS)
        random.shuffle(order)
        if size.quick:
            order = [
                "gateway",
                "mailer",
                "broker",
                "postgres",
            ]  # the hardest: who needs comes first
        slowest = max(slowest, await _started_in(trial, order))
        done = await publish(rig.broker.url, work[number * 5 : number * 5 + 5], ledger=rig.ledger)
        trial.published.confirmed_at.update(done.confirmed_at)
    verdict.require(
        slowest <= size.within_s(READY_WITHIN_S),
        f"ready only {slowest:.1f} s after the last part; promised {READY_WITHIN_S:g} s",
    )
    await trial.judge(work)
    verdict.trials = f"{orders} orders, ready <= {slowest:.1f} s after the last part, {len(work)} mails"
    return verdict


async def _started_in(trial: Trial, order: list[str]) -> float:
    """Stop everything, start it in this order; returns how long after the last part all are ready."""
    rig, verdict = trial.rig, trial.verdict
    services = {"mailer": rig.mailer, "gateway": rig.gateway}
    links = {"postgres": rig.postgres_link, "broker": rig.broker_link}
    await asyncio.gather(*(one.stop() for one in services.values()))
    for link in links.values():
        await link.become(Refuse())
    exits = {name: len(one.exits) for name, one in services.items()}
    up: set[str] = set()
    for part in order:
        if part in links:
            await links[part].become(Pass())
        else:
            await services[part].start()
        up.add(part)
        await asyncio.sleep(GAP_S / 2 if trial.size.quick else GAP_S)
        for name in services.keys() & up:
            # Imports take a while on a busy machine: alive is what it has to become, without help.
            if await _status(services[name], "/health/live", patience_s=15) != 200:
                verdict.require(False, f"{name} is not alive with only {sorted(up)} up: {services[name].log_tail(300)}")
        if "mailer" in up and "postgres" not in up:
            status = await _status(rig.mailer, "/health/ready", patience_s=0)
            verdict.require(status == 503, f"the mailer's readiness answers {status} without a database")
    began = time.monotonic()
    await asyncio.gather(*(one.ready(timeout_s=60) for one in services.values()))
    died = {name: one.exits[exits[name] :] for name, one in services.items() if len(one.exits) > exits[name]}
    verdict.require(not died, f"started {order}: processes ended while waiting: {died}")
    return time.monotonic() - began


async def _status(one: Supervised, path: str, *, patience_s: float) -> int:
    """The status of a health path; 0 when nothing answers for so long."""
    deadline = time.monotonic() + patience_s
    async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
        while True:
            try:
                return (await http.get(one.url + path)).status_code
            except httpx.HTTPError:
                if time.monotonic() >= deadline:
                    return 0
                await asyncio.sleep(0.1)
