"""F27: two instances of each service behind a balancer are restarted in turn by SIGTERM under load: nobody notices."""

import asyncio
import time
from contextlib import AsyncExitStack

import httpx

from faults.balancer import Balancer
from faults.load import Answers
from faults.rig import Rig
from faults.trial import Trial
from faults.verdict import Size, Verdict

EXIT_WITHIN_S = 20.0
INSTANCES = 2


async def run(rig: Rig, size: Size) -> Verdict:
    rounds = size.of(10, at_least=1)
    rate = 200.0 if not size.quick else 60.0
    verdict = Verdict("F27", "SIGTERM in turn under load: no failed request, no lost mail", "")
    trial = Trial(rig, size, verdict)
    exits: list[float] = []
    answers = Answers()

    async with AsyncExitStack() as stack:
        mailers = [rig.service("mailer"), *await stack.enter_async_context(rig.more_mailers(INSTANCES - 1))]
        behind = await stack.enter_async_context(Balancer([one.url for one in mailers]).running())
        gateways = await stack.enter_async_context(rig.more_gateways(INSTANCES, mailer_url=behind.url))
        edge = await stack.enter_async_context(Balancer([one.url for one in gateways]).running())
        await asyncio.sleep(0.6)  # the balancers' first look

        async def fault() -> None:
            over = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(_requests(rig, trial, edge.url, answers, rate, over))
                await asyncio.sleep(1.0)
                for _ in range(rounds):
                    for one in [*mailers, *gateways]:
                        began = time.monotonic()
                        code = await one.stop()
                        exits.append(time.monotonic() - began)
                        verdict.require(code == 0, f"{one.name} ended with {code} on SIGTERM")
                        await one.start()
                        await one.ready()
                        await asyncio.sleep(0.6)
                over.set()

        events = size.events()
        await trial.under_load(fault, events=events, writes=0, seconds=12.0 * rounds)
    bad = {status: n for status, n in answers.statuses.items() if not 200 <= status < 300}
    verdict.require(not bad, f"answers other than 2xx: {bad}: {answers.refusals[:3]}")
    verdict.require(not answers.broken, f"requests without an answer: {dict(answers.broken)}")
    verdict.require(max(exits) <= EXIT_WITHIN_S, f"an exit took {max(exits):.1f} s; promised {EXIT_WITHIN_S:g} s")
    restarts = rounds * 2 * INSTANCES
    verdict.trials = f"{events} mails, {answers.total} requests, {restarts} restarts, exit <= {max(exits):.1f} s"
    return verdict


async def _requests(rig: Rig, trial: Trial, base_url: str, answers: Answers, rate: float, over: asyncio.Event) -> None:
    """Reads and writes at a steady rate, each on a connection of its own, as a balancer's other side sees them."""
    began = time.monotonic()
    number = 0
    limits = httpx.Limits(max_keepalive_connections=0)
    async with (
        httpx.AsyncClient(base_url=base_url, timeout=15, limits=limits, trust_env=False) as http,
        asyncio.TaskGroup() as group,
    ):
        while not over.is_set():
            tenant = rig.tenants[number % len(rig.tenants)]
            headers = {"Authorization": f"Bearer {rig.tokens[tenant]}"}
            if number % 4:
                group.create_task(_request(http.build_request("GET", "/suppressions", headers=headers), http, answers))
            else:
                body = {"email": f"{trial.prefix.lower()}r{number}@suppressed.example.org"}
                headers["Idempotency-Key"] = f"{trial.prefix}r{number}"
                request = http.build_request("POST", "/suppressions", headers=headers, json=body)
                group.create_task(_request(request, http, answers))
            number += 1
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))


async def _request(request: httpx.Request, http: httpx.AsyncClient, answers: Answers) -> None:
    try:
        answer = await http.send(request)
    except httpx.HTTPError as error:
        answers.broken[f"{request.method} {error!r}"[:80]] += 1
    else:
        answers.statuses[answer.status_code] += 1
        if not answer.is_success:
            answers.refusals.append(f"{request.method} {answer.status_code} {answer.text[:300]}")
