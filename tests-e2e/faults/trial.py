"""Plays a fault while both kinds of clients work, then holds what came out against what was promised."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from faults.load import Answers, Job, Published, Write, jobs, publish, write
from faults.observed import Mail
from faults.rig import Rig
from faults.verdict import Size, Verdict
from mailer.usecases.deliver_emails import Pace

#: One loop serves the mails, sees the deaths and judges: what a process sent with its last breath may be accepted this
#: long after its death was seen. A start of the mailer takes about as long: no other life sent it.
SEEN_WITHIN_S = 1.0
#: How many mails of a server are accepted, or about to be, and not yet recorded: the bound of doubles for each death.
UNRECORDED = Pace().unrecorded
DRAIN_S = 30.0


@dataclass
class Trial:
    """One row being tried; made before its faults begin."""

    rig: Rig
    size: Size
    verdict: Verdict
    answers: Answers = field(default_factory=Answers)
    published: Published = field(default_factory=Published)
    earlier_deaths: int = field(init=False)

    def __post_init__(self) -> None:
        self.earlier_deaths = len(self.rig.mailer.exited_at)

    @property
    def random(self) -> Random:
        """The row's seeded stream, from its start."""
        return self.size.random(self.verdict.row)

    @property
    def prefix(self) -> str:
        """What all keys of this row begin with."""
        return f"{self.verdict.row}-{self.size.seed}-"

    @property
    def deaths(self) -> list[float]:
        """The moments at which the mailer died, by whatever hand."""
        return self.rig.mailer.exited_at[self.earlier_deaths :]

    async def under_load(
        self,
        fault: Callable[[], Coroutine[None, None, None]],
        *,
        events: int,
        writes: int,
        seconds: float,
        copies: int = 1,
    ) -> None:
        """Run the fault beside publishers and HTTP writers that are spread over about `seconds`, until all are done."""
        work = jobs(self.verdict.row, events, [str(one) for one in self.rig.tenants], seed=self.size.seed)
        posts = writes_of(self, writes)
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(
                publish(self.rig.broker.url, work, per_s=events / seconds, copies=copies, ledger=self.rig.ledger)
            )
            if posts:
                group.create_task(write(self.rig.gateway.url, posts, self.answers, per_s=writes / seconds))
            group.create_task(fault())
        self.published = publishing.result()
        await self.judge(work, posts)

    async def judge(self, work: Sequence[Job], posts: Sequence[Write] = ()) -> None:
        """Wait until everything is at rest, then compare mails, events and rows with what was acknowledged."""
        drained_s = await self.rig.settle(timeout_s=120)
        self.verdict.require(
            drained_s is not None and drained_s <= self.size.within_s(DRAIN_S),
            f"not drained {DRAIN_S:g} s after the last fault ended: {drained_s or await self.rig.unfinished()}",
        )
        await self.judge_mails(work)
        await self.judge_events()
        if posts:
            await self.judge_writes(posts)

    async def judge_mails(self, work: Sequence[Job]) -> None:
        """Each confirmed job is one mail of its own tenant."""
        mails = self.mails()
        tenant_of = {job.key: job.tenant_id for job in work}
        confirmed = self.published.confirmed
        missing = sorted(confirmed - mails.keys())
        self.verdict.lost += len(missing)
        if missing:
            addresses = [job.to for job in work if job.key in missing[:5]]
            fates = await self.rig.fate(addresses)
            self.verdict.notes.append(f"lost: {', '.join(missing[:5])}; {'; '.join(fates) or 'no trace of them'}")
        unexpected = mails.keys() - tenant_of.keys()
        self.verdict.require(not unexpected, f"mails nobody asked for: {sorted(unexpected)[:5]}")
        foreign = [key for key, copies in mails.items() if any(one.tenant != tenant_of.get(key) for one in copies)]
        self.verdict.require(not foreign, f"mails from another tenant's template: {foreign[:5]}")
        doubled = 0
        for copies in mails.values():
            for first, second in itertools.pairwise(copies):
                if first.message_id == second.message_id and self._died_between(first.at, second.at):
                    self.verdict.in_window += 1
                else:
                    doubled += 1
                    self.verdict.notes.append(f"doubled: {first.marker} {first.message_id} then {second.message_id}")
        self.verdict.duplicated += doubled
        bound = len(self.deaths) * UNRECORDED
        self.verdict.require(
            self.verdict.in_window <= bound,
            f"{self.verdict.in_window} doubles in the window; the bound is {bound}",
        )

    def mails(self) -> dict[str, list[Mail]]:
        """What the SMTP server accepted for this row, by job."""
        found: dict[str, list[Mail]] = defaultdict(list)
        for mail in self.rig.mails():
            if mail.marker.startswith(self.prefix):
                found[mail.marker].append(mail)
        return found

    async def judge_events(self) -> None:
        """Each mail that is sent told so once, under one event id; copies of an event carry the same id."""
        rows = await self.rig.database.fetch(
            "SELECT id FROM mailer.emails WHERE status = 'sent' AND to_email LIKE $1",
            f"%@{self.verdict.row.lower()}.example.org",
        )
        sent = [row["id"] for row in rows]
        untold = await self.rig.told(sent)
        self.verdict.lost += len(untold)
        if untold:
            self.verdict.notes.append(f"{len(untold)} sent mails whose event never came")
        twice = [one for one in sent if len(self.rig.events.by_email[one, "mailer.email.sent.v1"]) > 1]
        self.verdict.duplicated += len(twice)
        if twice:
            self.verdict.notes.append(f"{len(twice)} mails told as sent under two event ids")

    async def judge_writes(self, posts: Sequence[Write]) -> None:
        """Each acknowledged write is one row of its tenant, under the id that was answered."""
        rows = await self.rig.database.fetch(
            "SELECT id, tenant_id, email FROM mailer.suppressions WHERE email LIKE $1", f"{self.prefix.lower()}%"
        )
        stored: dict[str, list[tuple[UUID, UUID]]] = defaultdict(list)
        for row in rows:
            stored[row["email"]].append((row["id"], row["tenant_id"]))
        unfinished = [one.key for one in posts if one.key not in self.answers.created]
        self.verdict.require(not unfinished, f"{len(unfinished)} writes never succeeded: {dict(self.answers.statuses)}")
        for one in posts:
            found = stored.get(one.address, [])
            answered = self.answers.created.get(one.key)
            if answered is not None and UUID(answered) not in [row_id for row_id, _ in found]:
                self.verdict.lost += 1
                self.verdict.notes.append(f"answered 201 but not stored: {one.key}")
            self.verdict.duplicated += max(0, len(found) - 1)
            self.verdict.require(
                all(str(tenant) == one.tenant_id for _, tenant in found), f"{one.key} is stored for another tenant"
            )

    async def ready_again(self, name: str, *, timeout_s: float = 60) -> float:
        """Seconds until the service is ready; infinite, and noted as broken, when it does not get there."""
        try:
            return await self.rig.service(name).ready(timeout_s=timeout_s)
        except TimeoutError as late:
            self.verdict.require(False, str(late)[-600:])
            return float("inf")

    def _died_between(self, first: float, second: float) -> bool:
        # Not recorded by then: what was recorded before would have been told twice, which judge_events looks for.
        return any(first - SEEN_WITHIN_S <= death <= second for death in self.deaths)


def writes_of(trial: Trial, count: int, *, name: str = "w") -> list[Write]:
    """`count` different suppressions over all tenants."""
    rig = trial.rig
    made = []
    for number in range(count):
        tenant = rig.tenants[number % len(rig.tenants)]
        made.append(Write(key=f"{trial.prefix}{name}{number}", token=rig.tokens[tenant], tenant_id=str(tenant)))
    return made
