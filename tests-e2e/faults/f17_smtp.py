"""F17: everything that SMTP servers do: each answer gets its class, and one dead server delays nobody else's mail."""

import asyncio
import ssl
import time
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import median

from stack import free_port

from faults.load import Job, jobs, publish
from faults.rig import Rig
from faults.trial import Trial
from faults.verdict import Size, Verdict
from testkit.smtp_script import (
    Phase,
    Script,
    at,
    fails_tls,
    greylists,
    hangs_in_data,
    healthy,
    loses_its_250,
    refuses,
    resets_after_accept,
    shuts_down,
    slow_banner,
)
from testkit.smtp_script import Reset as ResetConnection
from testkit.smtp_server import ScriptedSmtp

#: The longest a mailer may wait for a server that says nothing, before the mail is deferred.
SILENCE_S = 90.0


@dataclass(frozen=True)
class Case:
    """What a server does, and what becomes of the mail: at first, and when time has passed and it is healthy."""

    name: str
    script: Callable[[], Script]
    first: str
    then: str = "sent"
    accepted: int = 1
    suppressed: bool = False
    tls: bool = False


CASES = (
    Case("421 at the banner", lambda: shuts_down(Phase.BANNER), "deferred"),
    Case("421 at MAIL", shuts_down, "deferred"),
    Case("450 at RCPT", lambda: refuses(Phase.RCPT, 450), "deferred"),
    Case("451 at the end of DATA", lambda: refuses(Phase.BODY, 451), "deferred"),
    Case("452 at DATA", lambda: refuses(Phase.DATA, 452), "deferred"),
    Case("550 at RCPT", lambda: refuses(Phase.RCPT, 550), "bounced", "bounced", accepted=0, suppressed=True),
    Case("552 at the end of DATA", lambda: refuses(Phase.BODY, 552), "bounced", "bounced", accepted=0),
    Case("554 at the end of DATA", lambda: refuses(Phase.BODY, 554), "bounced", "bounced", accepted=0),
    Case("250, then reset", resets_after_accept, "sent"),
    Case("reset before the 250", loses_its_250, "deferred", accepted=2),
    Case("reset in DATA", lambda: at({Phase.BODY: ResetConnection()}), "deferred"),
    Case("TLS handshake fails", fails_tls, "deferred", tls=True),
    Case("greylisting", greylists, "deferred"),
    Case("slow banner", lambda: slow_banner(3.0), "sent"),
)
SILENT = Case("no answer to DATA", hangs_in_data, "deferred")


async def run(rig: Rig, size: Size) -> Verdict:
    verdict = Verdict("F17", "each SMTP answer its class; a dead server delays only its tenant", "")
    trial = Trial(rig, size, verdict)
    cases = CASES if size.quick else (*CASES, SILENT)
    right = sum(await asyncio.gather(*(_case(trial, case) for case in cases)))
    ratio = await _isolation(trial, size)
    verdict.require(right == len(cases), f"{right} of {len(cases)} answers were classed right")
    verdict.trials = f"{right}/{len(cases)} scripts right, others' latency x{ratio:.2f} beside a dead server"
    return verdict


async def _case(trial: Trial, case: Case) -> bool:
    rig, verdict = trial.rig, trial.verdict
    tenant = uuid.uuid4()
    wrong_before = len(verdict.broken)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if case.tls else None
    server = ScriptedSmtp(case.script(), tls=tls)
    await server.start()
    try:
        port = server.port
        await rig.own_smtp(tenant, port=port)
        job = Job(key=f"{trial.prefix}{case.name.replace(' ', '_')}", tenant_id=str(tenant), to="a@f17.example.org")
        await publish(rig.broker.url, [job], clients=1)
        state = await _state(rig, tenant, waits_s=SILENCE_S if case is SILENT else 40.0)
        verdict.require(state == case.first, f"{case.name}: {state} instead of {case.first}")
        if state == "deferred":
            await _check_deferral(trial, case, tenant)
            server.script = healthy if case.name != "greylisting" else server.script
            if case.tls:  # the healthy server at this address offers no TLS: its certificate is nobody's
                await server.stop()
                server = ScriptedSmtp()
                await server.start(port)
            await rig.pass_time(tenant)
            state = await _state(rig, tenant, waits_s=40.0, but_not="deferred")
        verdict.require(state == case.then, f"{case.name}: in the end {state} instead of {case.then}")
        ids = [one.message_id for one in server.accepted]
        lost, doubled = max(0, case.accepted - len(ids)), max(0, len(ids) - case.accepted)
        verdict.lost += lost
        verdict.duplicated += doubled
        verdict.in_window += max(0, min(case.accepted, len(ids)) - 1)
        verdict.require(len(set(ids)) <= 1, f"{case.name}: a repeated mail changed its Message-ID: {ids}")
        listed = await rig.database.fetch("SELECT email FROM mailer.suppressions WHERE tenant_id = $1", tenant)
        if case.suppressed:
            verdict.require(bool(listed), f"{case.name}: the address is not suppressed")
        elif case.first != "bounced":
            verdict.require(not listed, f"{case.name}: the address is suppressed")
    finally:
        await server.stop()
    return len(verdict.broken) == wrong_before and not lost and not doubled


async def _check_deferral(trial: Trial, case: Case, tenant: uuid.UUID) -> None:
    """A deferral waits some time, and not for ever."""
    (row,) = await trial.rig.database.fetch(
        "SELECT extract(epoch FROM due_at - now())::float8 AS wait_s, reason FROM mailer.emails WHERE tenant_id = $1",
        tenant,
    )
    trial.verdict.require(0 < row["wait_s"] <= 24 * 3600, f"{case.name}: the next try is {row['wait_s']:.0f} s away")
    trial.verdict.require(bool(row["reason"]), f"{case.name}: a deferral without a reason")


async def _state(rig: Rig, tenant: uuid.UUID, *, waits_s: float, but_not: str = "") -> str:
    """The state of the tenant's only mail once it is decided for now."""
    began = time.monotonic()
    state = "absent"
    while time.monotonic() - began < waits_s:
        rows = await rig.database.fetch("SELECT status FROM mailer.emails WHERE tenant_id = $1", tenant)
        state = rows[0]["status"] if rows else "absent"
        if state not in ("absent", "queued", "sending", but_not):
            break
        await asyncio.sleep(0.2)
    return state


async def _isolation(trial: Trial, size: Size) -> float:
    """How much longer others' mails take beside tenants with dead servers and a backlog as long as theirs."""
    rig, verdict = trial.rig, trial.verdict
    count = size.of(1_000, at_least=40)
    # The median of small numbers of milliseconds moves by itself: what is promised is held to it beyond this much.
    noise_s = size.noise_s(0.05)
    calm_s = await _latency(rig, jobs("F17a", count, [str(one) for one in rig.tenants], seed=size.seed))
    async with AsyncExitStack() as stack:
        dead: list[Job] = []
        for number, script in enumerate((None, hangs_in_data(), at({Phase.BANNER: ResetConnection()}))):
            tenant = uuid.uuid4()
            port = free_port()
            if script is not None:
                server = ScriptedSmtp(script)
                await server.start()
                stack.push_async_callback(server.stop)
                port = server.port
            await rig.own_smtp(tenant, port=port)
            dead += jobs(f"F17dead{number}", count // 2, [str(tenant)], seed=size.seed)
        await publish(rig.broker.url, dead)
        await asyncio.sleep(0.5)
        busy_s = await _latency(rig, jobs("F17b", count, [str(one) for one in rig.tenants], seed=size.seed))
        await rig.forget_mails("%@f17dead%")
    verdict.require(
        busy_s <= calm_s * 1.1 + noise_s,
        f"others' mails took {busy_s * 1000:.0f} ms beside a dead server, {calm_s * 1000:.0f} ms without",
    )
    return busy_s / calm_s


async def _latency(rig: Rig, work: list[Job]) -> float:
    """The median time from a job's confirm to its acceptance by the SMTP server."""
    published = await publish(rig.broker.url, work, per_s=40)
    arrived = await rig.arrivals({job.key for job in work}, timeout_s=60)
    return median(arrived[key] - confirmed_at for key, confirmed_at in published.confirmed_at.items())
