"""F2: kill -9 exactly between two durable effects, in every such place of the mailer, each hit several times."""

import asyncio
import time
from collections import Counter
from pathlib import Path

from faults.load import CoreConnection, jobs, publish
from faults.rig import Rig
from faults.trial import Trial
from faults.verdict import Size, Verdict

#: Every place between a commit, a publish, an acknowledgement and an SMTP command.
WINDOWS = (
    "intake.before_commit",
    "consumer.after_commit_before_ack",
    "consumer.after_ack",
    "consumer.after_forward_before_ack",
    "mailer.after_claim",
    "mailer.before_send",
    "mailer.after_send_before_record",
    "mailer.after_record",
    "outbox.after_insert",
    "relay.before_publish",
    "relay.after_confirm_before_mark",
    "relay.after_mark",
)
QUICK = ("intake.before_commit", "mailer.after_send_before_record", "relay.after_confirm_before_mark")
#: Hits come while there is work: this many mails, and one job that cannot be read, are asked for again and again.
PORTION = 12
PATIENCE_S = 1.5
GIVE_UP_S = 60.0


async def run(rig: Rig, size: Size) -> Verdict:
    hits = size.of(25)
    verdict = Verdict("F2", "kill -9 in every window between two effects: nothing lost or doubled", "")
    trial = Trial(rig, size, verdict)
    log = rig.directory / f"windows-{size.seed}.log"
    before = dict(rig.mailer.environment)
    killed: Counter[str] = Counter()
    asked = 0
    poison = 0
    # A slice arms its windows together, so that the mailer is restarted once for all of them.
    for windows in [QUICK] if size.quick else [(window,) for window in WINDOWS]:
        await rig.mailer.restart(
            environment={
                **before,
                "FAILPOINTS": ";".join(f"{window}=kill@0.5x{hits}" for window in windows),
                "FAILPOINTS_LOG": str(log),
                "FAILPOINTS_SEED": f"{size.seed}/{windows[0]}",
            }
        )
        await rig.mailer.ready(timeout_s=60)
        give_up_at = time.monotonic() + GIVE_UP_S * len(windows)
        while any(killed[window] < hits for window in windows) and time.monotonic() < give_up_at:
            portion = jobs("F2", asked + PORTION, [str(one) for one in rig.tenants], seed=size.seed)[asked:]
            asked += PORTION
            done = await publish(rig.broker.url, portion, ledger=rig.ledger)
            trial.published.confirmed_at.update(done.confirmed_at)
            await _publish_poison(rig, trial, poison)
            poison += 1
            await _deaths(trial, len(trial.deaths) + 1, within_s=PATIENCE_S)
            killed.update({window: _hits(log, window) - killed[window] for window in windows})
        for window in windows:
            verdict.require(killed[window] >= hits, f"window {window} was hit {killed[window]} of {hits} times")
    await _deaths(trial, killed.total(), within_s=5.0)  # one that is not seen when the mailer is restarted is none
    await rig.mailer.restart(environment=before)
    await rig.mailer.ready(timeout_s=60)
    work = jobs("F2", asked, [str(one) for one in rig.tenants], seed=size.seed)
    await rig.settle(timeout_s=60)
    quarantined = await _replay_quarantined(rig)
    await trial.judge(work)
    buried = await rig.database.fetch(
        "SELECT count(*) AS n FROM mailer.dead_letters WHERE position(convert_to($1, 'UTF8') IN body) > 0",
        f"{trial.prefix}poison",
    )
    unreadable = int(buried[0]["n"])
    verdict.lost += max(0, poison - unreadable)
    verdict.duplicated += max(0, unreadable - poison)
    deaths = len(trial.deaths)
    verdict.require(deaths == killed.total(), f"{deaths} deaths, {killed.total()} of them by failpoint")
    verdict.notes.append(f"{quarantined} jobs that were in hand at three deaths were quarantined, and replayed")
    verdict.trials = f"{asked} mails, {poison} unreadable jobs, {killed.total()} kills in {len(killed)} windows"
    return verdict


def _hits(log: Path, window: str) -> int:
    return sum(line.split()[1] == window for line in log.read_text().splitlines()) if log.exists() else 0


async def _publish_poison(rig: Rig, trial: Trial, number: int) -> None:
    """A job that goes to the dead letters: the only way to the window behind forwarding."""
    core = CoreConnection(rig.broker.url)
    try:
        await core.publish(f"{trial.prefix}poison-{number} is no JSON".encode(), message_id=f"{trial.prefix}p{number}")
    finally:
        await core.close()


async def _deaths(trial: Trial, count: int, *, within_s: float) -> None:
    """Return when so many deaths have been seen, or when the time is over."""
    for _ in range(int(within_s / 0.05)):
        if len(trial.deaths) >= count:
            return
        await asyncio.sleep(0.05)


async def _replay_quarantined(rig: Rig) -> int:
    """What was in hand at three deaths is set aside by design; an operator sends it again."""
    quarantined = await rig.database.fetch(
        "SELECT id FROM mailer.dead_letters WHERE reason LIKE 'process died%' AND resolution IS NULL"
    )
    if quarantined:
        await rig.command("dlq", "mailer", "replay", "--reason", "process died")
    return len(quarantined)
