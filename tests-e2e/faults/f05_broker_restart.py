"""F5: the broker is stopped in order and killed, under load; publishers wait in the outbox, consumers come back."""

import asyncio
import time

from faults.load import QUEUE, CoreConnection
from faults.rig import Rig
from faults.trial import Trial
from faults.verdict import Size, Verdict

ATTACHED_WITHIN_S = 15.0


async def run(rig: Rig, size: Size) -> Verdict:
    restarts = size.of(20, at_least=2, quick=1)
    verdict = Verdict("F5", "broker restarted: outbox keeps, consumers return, effects once", "")
    trial = Trial(rig, size, verdict)
    random = trial.random
    kinds = (["kill -9", "TERM"] * restarts)[:restarts]
    consumers_before = await _consumers(rig)
    attached: list[float] = []

    async def fault() -> None:
        for kind in kinds:
            await asyncio.sleep(random.uniform(0.5, 2.0))
            # Not a death, but the same for what was in hand: an ack that was under way is lost with the broker.
            await asyncio.to_thread(rig.broker.crash if kind == "kill -9" else rig.broker.stop)
            await asyncio.sleep(random.uniform(0.0, 1.0))
            await asyncio.to_thread(rig.broker.start)
            attached.append(await _attached_again(rig, consumers_before))

    events = size.events()
    await trial.under_load(
        fault, events=events, writes=max(20, events // 10), seconds=(8.0 if size.quick else 14.0) * restarts
    )
    slowest = max(attached)
    verdict.require(
        slowest <= size.within_s(ATTACHED_WITHIN_S),
        f"consumers back to {consumers_before} only after {slowest:.1f} s; promised {ATTACHED_WITHIN_S:g} s",
    )
    verdict.require(
        trial.answers.share_2xx() == 1.0,
        f"a broker that is away disturbed HTTP writes: {dict(trial.answers.statuses)} {dict(trial.answers.broken)}",
    )
    verdict.trials = f"{events} mails, {restarts} restarts, attached <= {slowest:.1f} s"
    return verdict


async def _consumers(rig: Rig) -> int:
    core = CoreConnection(rig.broker.url)
    try:
        return (await core.waiting(QUEUE))[1]
    finally:
        await core.close()


async def _attached_again(rig: Rig, wanted: int) -> float:
    """Seconds until as many consumers as before are attached; infinite when that takes over a minute."""
    began = time.monotonic()
    core = CoreConnection(rig.broker.url)
    try:
        while time.monotonic() - began < 60:
            try:
                _, attached = await core.waiting(QUEUE)
            except Exception:  # the queue's state is loaded after the port opens
                attached = 0
            if attached >= wanted > 0:
                return time.monotonic() - began
            await asyncio.sleep(0.1)
    finally:
        await core.close()
    return float("inf")
