"""F10: database connections are cut, sessions terminated, COMMIT replies lost: a right answer or 503, one effect."""

import asyncio

from faults.rig import Rig
from faults.trial import Trial
from faults.verdict import Size, Verdict
from testkit.fault_modes import DropReply, Pass

#: Three pools and what listens beside them: more sessions than this means that slots leak.
MOST_SESSIONS = 40


async def run(rig: Rig, size: Size) -> Verdict:
    resets, lost_commits = size.of(1_000, at_least=10), size.of(200, at_least=5)
    verdict = Verdict("F10", "database connections cut, COMMIT replies lost: one effect, slots kept", "")
    trial = Trial(rig, size, verdict)
    random = trial.random
    plan = ["reset", "terminate"] * (resets // 2) + ["lost commit"] * lost_commits
    random.shuffle(plan)
    stuck = 0
    seconds = len(plan) * 0.4

    async def fault() -> None:
        nonlocal stuck
        for number, kind in enumerate(plan):
            await asyncio.sleep(random.uniform(0.05, 0.35))
            match kind:
                case "reset":
                    rig.postgres_link.reset_all()
                case "terminate":
                    await _terminate_one(rig, random.random())
                case _:
                    # An answer to COMMIT that never comes: the client cannot know, the effect is there.
                    dropped = rig.postgres_link.dropped_replies
                    await rig.postgres_link.become(DropReply(request_has=b"COMMIT", times=1))
                    for _ in range(40):
                        if rig.postgres_link.dropped_replies > dropped:
                            break
                        await asyncio.sleep(0.05)
                    await rig.postgres_link.become(Pass())
            if number % 10 == 0:
                stuck += await rig.database.idle_in_transaction(5.0)

    events = size.events()
    before = rig.postgres_link.dropped_replies
    await trial.under_load(fault, events=events, writes=int(15 * seconds), seconds=seconds)
    answers = trial.answers
    others = {status: n for status, n in answers.statuses.items() if not (200 <= status < 300 or status in (409, 503))}
    verdict.require(not others, f"answers other than 2xx, 409 and 503: {others}")
    verdict.require(not answers.broken, f"requests without an answer: {dict(answers.broken)}")
    verdict.require(not stuck, f"{stuck} sessions idle in transaction for over 5 s")
    sessions = await rig.database.sessions()
    verdict.require(sessions <= MOST_SESSIONS, f"{sessions} database sessions at the end; pools leak")
    cut = rig.postgres_link.dropped_replies - before
    verdict.require(cut >= lost_commits * 0.8, f"only {cut} of {lost_commits} COMMIT replies could be lost")
    verdict.trials = f"{events} mails, {answers.total} writes, {resets} resets, {cut} COMMIT replies lost"
    return verdict


async def _terminate_one(rig: Rig, chance: float) -> None:
    await rig.database.fetch(
        "SELECT pg_terminate_backend(pid) FROM (SELECT pid, row_number() OVER (ORDER BY pid) AS place,"
        " count(*) OVER () AS n FROM pg_stat_activity WHERE usename LIKE 'mailer%') AS s"
        " WHERE place = 1 + floor($1::float8 * n)",
        chance,
    )
