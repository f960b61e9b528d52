"""F1: kill -9 of either service, at random moments, one at a time and then both at once."""

import asyncio
import signal

from faults.rig import Rig
from faults.trial import Trial
from faults.verdict import Size, Verdict

READY_WITHIN_S = 5.0


async def run(rig: Rig, size: Size) -> Verdict:
    kills_each = size.of(20, at_least=1)
    verdict = Verdict("F1", "kill -9 of a service: nothing acknowledged lost, effects once", "")
    trial = Trial(rig, size, verdict)
    random = trial.random
    victims = ["mailer", "gateway"] * kills_each
    random.shuffle(victims)
    longest_s, seconds_each = (1.0, 2.5) if size.quick else (3.0, 4.5)
    plan = [(random.uniform(0.5, longest_s), [victim]) for victim in victims]
    plan.append((random.uniform(0.5, longest_s), ["mailer", "gateway"]))
    restarts: list[float] = []

    async def fault() -> None:
        for pause_s, names in plan:
            await asyncio.sleep(pause_s)
            for name in names:
                rig.service(name).signal(signal.SIGKILL)
            await asyncio.sleep(0.15)  # the supervisor's pause: before it, the dead process is still the one we know
            restarts.extend([await trial.ready_again(name) for name in names])

    events = size.events()
    await trial.under_load(fault, events=events, writes=max(20, events // 10), seconds=seconds_each * len(plan))
    restarts.sort()
    p95 = restarts[int(0.95 * (len(restarts) - 1))]
    verdict.require(
        p95 <= size.within_s(READY_WITHIN_S), f"ready {p95:.1f} s after a restart (p95); promised {READY_WITHIN_S:g} s"
    )
    verdict.trials = f"{events} mails, {len(victims) + 2} kills, ready p95 {p95:.1f} s"
    return verdict
