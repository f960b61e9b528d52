"""F16: jobs that kill whatever process handles them: quarantined after three deaths, everything else is delivered."""

import asyncio
import sys
import time
from pathlib import Path

from faults.load import Job, jobs, publish
from faults.rig import Rig
from faults.serve_poisoned import DEADLY, EXIT_CODE
from faults.trial import Trial
from faults.verdict import Size, Verdict

MOST_DEATHS = 3
DRAINED_WITHIN_S = 60.0


async def run(rig: Rig, size: Size) -> Verdict:
    deadly = size.of(10)
    verdict = Verdict("F16", "a job that kills its process is quarantined after 3 deaths", "")
    trial = Trial(rig, size, verdict)
    tenants = [str(one) for one in rig.tenants]
    work = jobs("F16", size.events(), tenants, seed=size.seed)
    killers = [Job(f"{DEADLY}-{trial.prefix}{n}", tenants[0], f"killer{n}@f16.example.org") for n in range(deadly)]
    mixed = [*work, *killers]
    trial.random.shuffle(mixed)
    started = len(rig.mailer.exits)
    ordinary = list(rig.mailer.command)
    await rig.mailer.stop()
    rig.mailer.command = [sys.executable, str(Path(__file__).with_name("serve_poisoned.py")), "mailer"]
    await rig.mailer.start()
    try:
        began = time.monotonic()
        trial.published = await publish(rig.broker.url, mixed, ledger=rig.ledger)
        for killer in killers:
            trial.published.confirmed_at.pop(killer.key)  # their promise is the dead letter
        drained_s = await _drained(rig, deadly, began)
    finally:
        await rig.mailer.stop()
        rig.mailer.command = ordinary
        await rig.mailer.start()
        await rig.mailer.ready(timeout_s=60)
    deaths = rig.mailer.exits[started:].count(EXIT_CODE)
    verdict.require(deaths <= MOST_DEATHS * deadly, f"{deaths} deaths of {deadly} jobs; at most {MOST_DEATHS} each")
    verdict.require(deaths >= deadly, f"only {deaths} deaths: the poison was not tasted")
    others = [code for code in rig.mailer.exits[started:] if code != EXIT_CODE]
    verdict.require(not others, f"the mailer also ended with {others}")
    letters = await _letters(rig)
    verdict.lost += max(0, deadly - letters)
    verdict.duplicated += max(0, letters - deadly)
    verdict.require(drained_s <= size.within_s(DRAINED_WITHIN_S), f"others drained after {drained_s:.0f} s")
    await trial.judge(mixed)
    await rig.command("dlq", "mailer", "discard", "--reason", "process died")
    verdict.trials = f"{len(work)} mails, {deadly} deadly jobs, {deaths} deaths, drained in {drained_s:.0f} s"
    return verdict


async def _letters(rig: Rig) -> int:
    rows = await rig.database.fetch(
        "SELECT count(*) AS n FROM mailer.dead_letters WHERE reason LIKE 'process died%'"
        " AND resolution IS NULL AND position(convert_to($1, 'UTF8') IN body) > 0",
        DEADLY,
    )
    return int(rows[0]["n"])


async def _drained(rig: Rig, deadly: int, began: float) -> float:
    """Seconds until every deadly job is a dead letter and nothing else waits."""
    while time.monotonic() - began < 3 * DRAINED_WITHIN_S:
        if await _letters(rig) >= deadly and await rig.settle(timeout_s=5.0) is not None:
            return time.monotonic() - began
        await asyncio.sleep(0.2)
    return time.monotonic() - began
