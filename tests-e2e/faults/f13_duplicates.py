"""F13: every job is delivered five times, to four mailers at once: one mail each."""

from faults.rig import Rig
from faults.trial import Trial
from faults.verdict import Size, Verdict

COPIES = 5
MAILERS = 4


async def _nothing() -> None:
    """The duplicates are the fault."""


async def run(rig: Rig, size: Size) -> Verdict:
    verdict = Verdict("F13", "each job delivered five times to four consumers: one mail", "")
    trial = Trial(rig, size, verdict)
    events = size.events()
    async with rig.more_mailers(MAILERS - 1):
        # Each client publishes a job's five copies one after the other; sixteen clients and four consumers mix them.
        await trial.under_load(_nothing, events=events, writes=0, seconds=max(2.0, events / 60), copies=COPIES)
    attempts = trial.published.attempts.total()
    verdict.trials = f"{events} mails x {COPIES} ({attempts} deliveries), {MAILERS} mailers"
    return verdict
