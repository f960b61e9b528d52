"""F9: Postgres is restarted (fast, immediate, kill -9) under load: 503 meanwhile, nothing lost, pools heal."""

import asyncio

from faults.rig import Rig
from faults.trial import Trial
from faults.verdict import Size, Verdict

HEALED_WITHIN_S = 10.0
KINDS = ("fast", "kill -9", "immediate")


async def run(rig: Rig, size: Size) -> Verdict:
    restarts = size.of(20, at_least=3, quick=1)
    verdict = Verdict("F9", "Postgres restarted: 503 meanwhile, nothing acknowledged lost", "")
    trial = Trial(rig, size, verdict)
    random = trial.random
    kinds = [random.choice(KINDS)] if size.quick else [KINDS[n % len(KINDS)] for n in range(restarts)]
    healed: list[float] = []

    async def fault() -> None:
        for kind in kinds:
            await asyncio.sleep(random.uniform(1.0, 2.0))
            await rig.stop_postgres(kind)
            await asyncio.sleep(random.uniform(0.0, 1.5))
            await asyncio.to_thread(rig.postgres.start)
            accepting_at = await rig.database.accepting()
            healed.append(await _first_2xx(trial, accepting_at))

    events = size.events()
    seconds = 5.0 * restarts
    await trial.under_load(fault, events=events, writes=int(20 * seconds), seconds=seconds)
    answers = trial.answers
    others = {status: n for status, n in answers.statuses.items() if not (200 <= status < 300 or status in (409, 503))}
    verdict.require(not others, f"answers other than 2xx, 409 and 503: {others}")
    verdict.require(not answers.broken, f"requests without an answer: {dict(answers.broken)}")
    verdict.require(not answers.without_retry_after, f"{answers.without_retry_after} answers 503 without Retry-After")
    late = f"first 2xx {max(healed):.1f} s after Postgres accepts; promised {HEALED_WITHIN_S:g} s"
    verdict.require(max(healed) <= size.within_s(HEALED_WITHIN_S), late)
    verdict.trials = f"{events} mails, {answers.total} writes, {restarts} restarts, healed <= {max(healed):.1f} s"
    return verdict


async def _first_2xx(trial: Trial, since: float) -> float:
    """Seconds from then to the first success; infinite when none comes within a minute."""
    for _ in range(1200):
        took_s = trial.answers.first_2xx_after(since)
        if took_s is not None:
            return took_s
        await asyncio.sleep(0.05)
    return float("inf")
