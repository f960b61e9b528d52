"""F7: the broker does not answer (blackhole, one silent direction): HTTP writes do not notice, nothing is lost."""

import asyncio
import time

from faults.load import Answers, write
from faults.rig import Rig
from faults.trial import Trial, writes_of
from faults.verdict import Size, Verdict
from testkit.fault_modes import Blackhole, Direction, HalfOpen, Mode, Pass

DETECTED_WITHIN_S = 20.0
#: Beyond twice the calm p99, HTTP may take this much: two cores carry clients, product, database and broker.
NOISE_S = 0.1


async def run(rig: Rig, size: Size) -> Verdict:
    silent_s = 22.0 if size.quick else max(25.0, 60.0 * min(1.0, size.scale * 2))
    modes: list[Mode] = [Blackhole(), HalfOpen(Direction.TO_CLIENT), HalfOpen(Direction.TO_SERVER)]
    if size.quick:
        modes = modes[:1]
    verdict = Verdict("F7", "broker silent: HTTP writes stay up, detected, nothing lost", "")
    trial = Trial(rig, size, verdict)
    calm = Answers()
    await write(rig.gateway.url, writes_of(trial, 60, name="calm"), calm, per_s=20)
    detected: list[float] = []

    async def fault() -> None:
        for mode in modes:
            await asyncio.sleep(1.0)
            # A network that comes back delivers what was on its way, or nothing: connections that were given up by then
            # are gone. The mailer gives up by connecting anew.
            before = rig.broker_link.accepted
            began = time.monotonic()
            await rig.broker_link.become(mode)
            noticed_s = float("inf")
            while time.monotonic() - began < silent_s and not (size.quick and noticed_s < silent_s):
                if rig.broker_link.accepted > before:
                    noticed_s = min(noticed_s, time.monotonic() - began)
                await asyncio.sleep(0.05)
            detected.append(noticed_s)
            await rig.broker_link.become(Pass())

    events = size.events()
    seconds = (12.0 if size.quick else silent_s + 1) * len(modes)  # a slice is over when the silence is noticed
    await trial.under_load(fault, events=events, writes=int(10 * seconds), seconds=seconds)
    answers = trial.answers
    verdict.require(
        answers.share_2xx() >= 0.999,
        f"{answers.share_2xx():.2%} of HTTP writes succeeded: {dict(answers.statuses)} {dict(answers.broken)}",
    )
    p99_s, calm_s = answers.quantile_s(0.99), calm.quantile_s(0.99)
    verdict.require(
        p99_s <= 2 * calm_s + size.noise_s(NOISE_S),
        f"HTTP p99 {p99_s * 1000:.0f} ms; {calm_s * 1000:.0f} ms when all is well",
    )
    verdict.require(
        max(detected) <= DETECTED_WITHIN_S, f"noticed after {max(detected):.1f} s; promised {DETECTED_WITHIN_S:g} s"
    )
    verdict.trials = (
        f"{events} mails, {answers.total} writes, {len(modes)} x {silent_s:.0f} s, seen <= {max(detected):.0f} s"
    )
    return verdict
