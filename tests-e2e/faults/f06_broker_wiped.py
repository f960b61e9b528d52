"""F6: the broker loses its data; what went through an outbox is published again, and absorbed where it had arrived."""

import asyncio
import json
import time
from datetime import UTC, datetime

from faults.load import jobs
from faults.rig import Rig
from faults.trial import Trial
from faults.verdict import Size, Verdict

TOOL_WITHIN_S = 60.0


async def run(rig: Rig, size: Size) -> Verdict:
    """Half of the jobs are delivered before the loss, half lie in the broker when it is wiped."""
    verdict = Verdict("F6", "broker data wiped: `outbox republish` loses and doubles nothing", "")
    trial = Trial(rig, size, verdict)
    events = size.events()
    work = jobs("F6", events, [str(one) for one in rig.tenants], seed=size.seed)
    since = datetime.now(UTC)

    # The observer is away: the events of the first half lie only in its queue when the broker loses everything.
    await rig.events.stop()
    await rig.enqueue(work[: events // 2])
    await rig.settle(timeout_s=120, observed=False)
    # So is the mailer: the jobs of the second half lie only in mail_queue.
    await rig.service("mailer").stop()
    await rig.enqueue(work[events // 2 :])
    await rig.relay_once()
    trial.published.confirmed_at = dict.fromkeys((job.key for job in work), time.time())

    await asyncio.to_thread(rig.broker.wipe)
    await asyncio.to_thread(rig.broker.start)
    await rig.events.start()
    await rig.service("mailer").start()
    await rig.service("mailer").ready()
    began = time.monotonic()
    said = await rig.command("outbox", "mailer", "republish", "--since", since.isoformat())
    again = int(json.loads(said.splitlines()[-1])["republished"])
    took_s = time.monotonic() - began
    await trial.judge(work)

    verdict.require(again >= events, f"the tool sent {again} rows again; there were at least {events}")
    verdict.require(took_s <= TOOL_WITHIN_S, f"the tool took {took_s:.0f} s; promised {TOOL_WITHIN_S:g} s")
    verdict.trials = f"{events} mails, {again} rows sent again in {took_s:.1f} s"
    return verdict
