"""Delivers what is due, as long as the service runs: claim, render, send, record, with many mails under way at once."""

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec

from bus.failpoints import failpoint
from bus.failures import is_transient
from chassis.clock import Clock
from chassis.db import Database, platform_transaction
from chassis.secrets import SecretBox
from contracts.errors import ServiceError, Unavailable
from mailer import store
from mailer.domain.email_templates import EmailTemplate
from mailer.domain.emails import Claim, Ending, deferred, failed
from mailer.domain.lanes import FIRST_WINDOW, Lane
from mailer.domain.smtp_answers import masked
from mailer.renderer import Rendered, Renderer, RenderRequest
from mailer.smtp import SmtpPool
from mailer.usecases.claim_emails import Parcel, claim_emails
from mailer.usecases.open_origin import Origin
from mailer.usecases.record_endings import record_endings
from mailer.usecases.send_email import send_email

LOOK_EVERY_S: Final = 1.0
GATHER_S: Final = 0.02
PAUSE_S: Final = 0.5
LAST_WORDS_S: Final = 3.0
KEPT_TEXTS: Final = 500

log = logging.getLogger(__name__)


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How much the worker takes on. A lease is renewed while its mail is under way, so it may be short.

    `unrecorded` bounds, for each server, the mails that are on the wire or accepted and not yet recorded: those that
    may be sent again when the process dies.
    """

    under_way: int = 512
    unrecorded: int = 20
    lease_s: float = 20.0
    finish_within_s: float = 10.0


async def deliver_emails(
    db: Database,
    *,
    renderer: Renderer,
    smtp: SmtpPool,
    box: SecretBox,
    default_origin: Origin | None,
    default_locale: str,
    allow_private_smtp: bool,
    clock: Clock,
    arrivals: asyncio.Event,
    stopping: asyncio.Event,
    pace: Pace | None = None,
) -> None:
    """Works until `stopping` is set, then finishes what is under way, within its time.

    `arrivals` says that there is something new; without it the queue is looked at every second. While the database is
    away nothing is claimed, and what was sent is recorded when it is back, unless another worker was faster to take it.
    """
    worker = _Worker(
        db,
        renderer,
        smtp,
        box,
        default_origin,
        default_locale,
        allow_private_smtp,
        clock,
        arrivals,
        stopping,
        pace or Pace(),
    )
    await worker.run()


@dataclass
class _Held:
    """A claimed mail; its lease ends by the monotonic clock, which goes on while the process is frozen."""

    claim: Claim
    lease_ends_s: float
    wire: asyncio.Semaphore | None = None


@dataclass
class _Worker:
    db: Database
    renderer: Renderer
    smtp: SmtpPool
    box: SecretBox
    default_origin: Origin | None
    default_locale: str
    allow_private_smtp: bool
    clock: Clock
    arrivals: asyncio.Event
    stopping: asyncio.Event
    pace: Pace
    held: dict[UUID, _Held] = field(default_factory=dict)
    wires: dict[UUID, asyncio.Semaphore] = field(default_factory=dict)
    lanes: dict[UUID, Lane] = field(default_factory=lambda: defaultdict(Lane))
    texts: dict[str, EmailTemplate] = field(default_factory=dict)
    ended: list[tuple[Claim, Ending]] = field(default_factory=list)
    something_ended: asyncio.Event = field(default_factory=asyncio.Event)
    closing: bool = False
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        recorder = asyncio.create_task(self._record_until_closing())
        renewer = asyncio.create_task(self._renew_until_closing())
        finish_by_s = time.monotonic()
        try:
            await self._claim_until_stopping()
            finish_by_s = time.monotonic() + self.pace.finish_within_s
            # Once more after each: what was being rendered is sent by tasks that did not exist yet.
            while self.tasks and (left_s := finish_by_s - time.monotonic()) > 0:
                await asyncio.wait(self.tasks, timeout=left_s)
        finally:
            for task in (*self.tasks, renewer):
                task.cancel()  # the lease of an unfinished mail ends by itself, and another worker tries
            self.closing = True
            self.something_ended.set()
            # What nobody needed to finish is left for the database: what is not recorded is sent once more.
            await asyncio.wait({recorder}, timeout=LAST_WORDS_S + max(0.0, finish_by_s - time.monotonic()))
            recorder.cancel()
            await asyncio.gather(recorder, renewer, *self.tasks, return_exceptions=True)

    async def _claim_until_stopping(self) -> None:
        stop = asyncio.create_task(self.stopping.wait())
        while not self.stopping.is_set():
            self.arrivals.clear()
            try:
                claimed = await self._claim()
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("nothing is claimed while the database is away: %r", error)
                await asyncio.wait({stop}, timeout=PAUSE_S)
                continue
            if not claimed:
                arrival = asyncio.create_task(self.arrivals.wait())
                await asyncio.wait({stop, arrival}, timeout=LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
                arrival.cancel()
                await asyncio.sleep(GATHER_S)
        stop.cancel()

    async def _claim(self) -> int:
        """Claims what there is room for and starts on it; returns how many."""
        places = self.pace.under_way - len(self.held)
        if places * 4 < self.pace.under_way:
            return 0  # a claim of one mail costs as much as one of a hundred: wait for more places
        now_s = time.monotonic()
        async with platform_transaction(self.db) as conn:
            claimed = await claim_emails(
                conn,
                {lane_id: lane.room(now_s) for lane_id, lane in self.lanes.items()},
                other_room=FIRST_WINDOW,
                limit=places,
                lease_s=self.pace.lease_s,
                # Whose lease ended while the database was away: sent and not recorded, they would be sent again.
                in_hand=self.held.keys(),
                box=self.box,
                texts=self.texts,
                default_origin=self.default_origin,
                default_locale=self.default_locale,
                allow_private_smtp=self.allow_private_smtp,
                now=self.clock(),
            )
        failpoint("mailer.after_claim")
        lease = now_s + self.pace.lease_s
        self.held.update({parcel.claim.id: _Held(parcel.claim, lease) for parcel in claimed.parcels})
        self.held.update({claim.id: _Held(claim, lease) for claim, _ in claimed.ended})
        for claim, ending in claimed.ended:
            self._end(claim, ending)
        if claimed.parcels:
            for parcel in claimed.parcels:
                self.lanes[parcel.claim.lane].under_way += 1
            self._start(self._render(claimed.parcels))
        if len(self.texts) > KEPT_TEXTS:
            self.texts.clear()
        return len(claimed.parcels) + len(claimed.ended)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _render(self, parcels: Sequence[Parcel]) -> None:
        requests = [
            RenderRequest(
                template_key=parcel.template.version,
                syntax=parcel.template.syntax,
                subject=parcel.template.subject_jinja,
                body=parcel.template.body_jinja,
                variables=parcel.variables,
            )
            for parcel in parcels
        ]
        results = await self.renderer.render_many(requests)
        for parcel, result in zip(parcels, results, strict=True):
            self._start(self._send(parcel, result))

    async def _send(self, parcel: Parcel, rendered: Rendered | ServiceError) -> None:
        claim, lane = parcel.claim, self.lanes[parcel.claim.lane]
        try:
            wire = self.wires.setdefault(claim.lane, asyncio.Semaphore(self.pace.unrecorded))
            await wire.acquire()
            held = self.held[claim.id]
            held.wire = wire
            if time.monotonic() > held.lease_ends_s:
                self._let_go(claim)  # frozen for too long: somebody else may have it
                return
            failpoint("mailer.before_send")
            ending = (
                await send_email(parcel, rendered, smtp=self.smtp, lane=lane, clock=self.clock)
                if isinstance(rendered, Rendered)
                else self._unrendered(parcel, rendered)
            )
            failpoint("mailer.after_send_before_record")
            self._end(claim, ending)
        except Exception:
            log.exception("mail %s is left to its lease", claim.id)
            self._let_go(claim)
        finally:
            lane.under_way -= 1
            self.arrivals.set()

    def _unrendered(self, parcel: Parcel, error: ServiceError) -> Ending:
        if isinstance(error, Unavailable):  # the renderer is at its limit or stopping: not the mail's fault
            draw = random.random()  # noqa: S311 - jitter
            return deferred(parcel.claim, error.detail, code=None, now=self.clock(), draw=draw)
        # A name that is missing may be a value: `{{ prices[code] }}`.
        return failed(masked(error.detail, parcel.hidden))

    def _end(self, claim: Claim, ending: Ending) -> None:
        self.ended.append((claim, ending))
        self.something_ended.set()

    def _let_go(self, claim: Claim) -> None:
        held = self.held.pop(claim.id, None)
        if held is not None and held.wire is not None:
            held.wire.release()

    async def _record_until_closing(self) -> None:
        """Group commit: while one transaction runs the next one's endings gather, and nobody waits for a full batch."""
        while not self.closing or self.ended:
            await self.something_ended.wait()
            self.something_ended.clear()
            while self.ended:
                batch, self.ended = self.ended, []
                await self._record(batch)

    async def _record(self, batch: Sequence[tuple[Claim, Ending]]) -> None:
        try:
            async with platform_transaction(self.db) as conn:
                await record_endings(conn, batch, now=self.clock())
        except Exception as error:
            if is_transient(error):
                log.warning("%d endings wait for the database: %r", len(batch), error)
                await asyncio.sleep(PAUSE_S)
                self.ended += batch  # with what has ended since
                return
            if len(batch) > 1:
                for one in batch:
                    await self._record([one])
                return
            log.exception("mail %s is left to its lease", batch[0][0].id)
        failpoint("mailer.after_record")
        for claim, _ in batch:
            self._let_go(claim)
        self.arrivals.set()

    async def _renew_until_closing(self) -> None:
        while not self.closing:  # a cancellation may be lost to the error of a session that has gone
            await asyncio.sleep(self.pace.lease_s / 4)
            now_s = time.monotonic()
            old = [held for held in self.held.values() if held.lease_ends_s - now_s < self.pace.lease_s * 3 / 4]
            if not old:
                continue
            try:
                async with platform_transaction(self.db) as conn:
                    kept = await store.emails.extend_leases(conn, [held.claim for held in old], self.pace.lease_s)
            except Exception as error:
                log.warning("leases are not renewed: %r", error)
                continue
            for held in old:
                held.lease_ends_s = now_s + self.pace.lease_s if held.claim.id in kept else 0.0
