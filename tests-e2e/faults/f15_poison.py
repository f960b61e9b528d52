"""F15: jobs that cannot be handled: others flow, each is a dead letter with its reason, and replays after the fix."""

import asyncio
import json
import uuid

from faults.load import CoreConnection, Job, jobs, publish
from faults.rig import Rig
from faults.trial import Trial
from faults.verdict import Size, Verdict

#: Beyond twice the calm p99, good mails may take this much: clients and product share two cores.
NOISE_S = 0.25


def poison(trial: Trial, number: int) -> bytes:
    """One of ten kinds of jobs that nobody can handle; it carries its number, so that its dead letter can be found."""
    marker = f"{trial.prefix}poison-{number}."
    good: dict[str, object] = {"to": "a@f15.example.org", "template": "fault", "idempotency_key": marker}
    kinds: list[bytes] = [
        f"{marker} is no JSON".encode(),
        json.dumps([good]).encode(),
        json.dumps({**good, "to": None}).encode(),
        json.dumps({**good, "to": "not an address"}).encode(),
        json.dumps({**good, "to": "a@f15.example.org\r\nBcc: victim@f15.example.org"}).encode(),
        json.dumps({**good, "template": ["fault"]}).encode(),
        json.dumps({**good, "tenant_id": "not-a-uuid"}).encode(),
        json.dumps({**good, "variables": ["marker"]}).encode(),
        marker.encode() + b'{"to": "\xff\xfe"}',
        json.dumps({**good, "variables": {"marker": marker, "padding": "x" * 300_000}}).encode(),
    ]
    return kinds[number % len(kinds)]


async def run(rig: Rig, size: Size) -> Verdict:
    bad = size.of(100, at_least=10)
    bugs = size.of(100, at_least=4)
    verdict = Verdict("F15", "poison: others flow, each dead with its reason, replay after the fix", "")
    trial = Trial(rig, size, verdict)
    tenants = [str(one) for one in rig.tenants]
    events = size.events()
    per_s = 60.0

    calm_s = await _p99(rig, trial, jobs("F15a", events // 2, tenants, seed=size.seed), per_s=per_s, bad=0)
    work = jobs("F15", events, tenants, seed=size.seed)
    poisoned_s = await _p99(rig, trial, work, per_s=per_s, bad=bad)
    await rig.settle(timeout_s=60)
    await _check_letters(rig, trial, bad)
    verdict.require(
        poisoned_s <= 2 * calm_s + size.noise_s(NOISE_S),
        f"good mails' p99 {poisoned_s * 1000:.0f} ms beside poison, {calm_s * 1000:.0f} ms without",
    )

    # A bug of ours: handling raises, whatever the job. What dies of it is good, and is replayed once the bug is gone.
    unlucky = [Job(f"{trial.prefix}bug-{n}", tenants[n % len(tenants)], f"bug{n}@f15.example.org") for n in range(bugs)]
    before = await _dead(rig, "FailpointHit")
    async with rig.changed("mailer", FAILPOINTS="intake.before_commit=raise"):
        done = await publish(rig.broker.url, unlucky, ledger=rig.ledger)
        trial.published.confirmed_at.update(done.confirmed_at)
        await _until_dead(rig, "FailpointHit", before + bugs)
    died = await _dead(rig, "FailpointHit") - before
    verdict.require(died == bugs, f"{bugs} jobs met the bug, {died} dead letters tell of it")
    await rig.command("dlq", "mailer", "replay", "--reason", "FailpointHit")
    await trial.judge([*work, *unlucky])
    left = await _dead(rig, "FailpointHit")
    verdict.require(left == before, f"{left - before} dead letters are open after their replay")
    verdict.trials = f"{events} mails, {bad} poison of 10 kinds, {bugs} replayed"
    return verdict


async def _p99(rig: Rig, trial: Trial, work: list[Job], *, per_s: float, bad: int) -> float:
    """The p99 from confirm to acceptance of good mails, with poison spread among them."""

    async def spoil() -> None:
        core = CoreConnection(rig.broker.url)
        for number in range(bad):
            await core.publish(poison(trial, number), message_id=str(uuid.uuid4()))
            await asyncio.sleep(len(work) / per_s / max(1, bad))
        await core.close()

    published, _ = await asyncio.gather(publish(rig.broker.url, work, per_s=per_s, ledger=rig.ledger), spoil())
    if bad:
        trial.published = published
    arrived = await rig.arrivals({job.key for job in work}, timeout_s=60)
    waits = sorted(arrived[key] - confirmed_at for key, confirmed_at in published.confirmed_at.items())
    return waits[int(0.99 * (len(waits) - 1))]


async def _check_letters(rig: Rig, trial: Trial, bad: int) -> None:
    rows = await rig.database.fetch(
        "SELECT reason, attempts FROM mailer.dead_letters WHERE position(convert_to($1, 'UTF8') IN body) > 0",
        f"{trial.prefix}poison-",
    )
    trial.verdict.lost += max(0, bad - len(rows))
    trial.verdict.duplicated += max(0, len(rows) - bad)
    trial.verdict.require(all(row["reason"] for row in rows), "a dead letter without a reason")
    most = max((row["attempts"] for row in rows), default=0)
    trial.verdict.require(most <= 5, f"a poison job was tried {most} times")


async def _dead(rig: Rig, reason: str) -> int:
    rows = await rig.database.fetch(
        "SELECT count(*) AS n FROM mailer.dead_letters WHERE position($1 IN reason) > 0 AND resolution IS NULL", reason
    )
    return int(rows[0]["n"])


async def _until_dead(rig: Rig, reason: str, count: int) -> None:
    for _ in range(300):
        if await _dead(rig, reason) >= count:
            return
        await asyncio.sleep(0.2)
