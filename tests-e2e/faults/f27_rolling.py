"""F27: two instances of each service behind a balancer are restarted in turn by SIGTERM under load: nobody notices."""

import asyncio
import time
from contextlib import AsyncExitStack

from faults.f26_f27_callers import calling
from faults.f27_balancer import balancing
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

    # No fault is in these connections, and a fault proxy is one loop that fsyncs the ledger too: it would be the limit.
    direct = {"DATABASE_URL": rig.postgres.url, "AMQP_URL": rig.broker.url}
    async with AsyncExitStack() as stack:
        mailers = [
            await stack.enter_async_context(rig.changed("mailer", **direct)),
            *await stack.enter_async_context(rig.more_mailers(INSTANCES - 1)),
        ]
        for one in mailers[1:]:
            await one.restart(environment={**one.environment, **direct})
            await one.ready()
        behind = await stack.enter_async_context(balancing([one.url for one in mailers]))
        gateways = await stack.enter_async_context(rig.more_gateways(INSTANCES, mailer_url=behind))
        edge = await stack.enter_async_context(balancing([one.url for one in gateways]))

        async def fault() -> None:
            tokens = [rig.tokens[tenant] for tenant in rig.tenants]
            async with calling(edge, tokens, answers, per_s=rate, writes_as=trial.prefix):
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

        events = size.events()
        await trial.under_load(fault, events=events, writes=0, seconds=12.0 * rounds)
    bad = {status: n for status, n in answers.statuses.items() if not 200 <= status < 300}
    verdict.require(not bad, f"answers other than 2xx: {bad}: {answers.refusals[:3]}")
    verdict.require(not answers.broken, f"requests without an answer: {dict(answers.broken)}")
    verdict.require(max(exits) <= EXIT_WITHIN_S, f"an exit took {max(exits):.1f} s; promised {EXIT_WITHIN_S:g} s")
    verdict.trials = (
        f"{events} mails, {answers.total} requests, p99 {answers.quantile_s(0.99):.2f} s,"
        f" {rounds * 2 * INSTANCES} restarts, exit <= {max(exits):.1f} s"
    )
    return verdict
