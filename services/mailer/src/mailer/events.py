"""What the mailer consumes: no service's events, and the foreign queue of mail jobs."""

import asyncio
from collections.abc import Callable, Sequence

from bus.consumer import Consumer, Handler, Incoming
from bus.failpoints import failpoint
from chassis.db import platform_transaction
from chassis.lifecycle import Runtime
from chassis.secrets import SecretBox
from contracts.mailer import MAIL_QUEUE
from mailer.usecases.accept_jobs import accept_jobs


def mail_queue(
    box: SecretBox, default_locale: str, message_id_domain: str, arrivals: asyncio.Event
) -> Callable[[Runtime], Consumer]:
    """The consumer of `mail_queue`: a batch of jobs is one transaction, acknowledged when it has committed."""

    def consumer(runtime: Runtime) -> Consumer:
        async def on_mail_jobs(messages: Sequence[Incoming]) -> None:
            async with platform_transaction(runtime.db) as conn:
                await accept_jobs(
                    conn,
                    messages,
                    box=box,
                    now=runtime.clock(),
                    default_locale=default_locale,
                    message_id_domain=message_id_domain,
                )
                failpoint("intake.before_commit")
            arrivals.set()

        return Consumer(queue=MAIL_QUEUE, handle=on_mail_jobs, foreign=True, max_batch=100, concurrency=2)

    return consumer


HANDLERS: tuple[Handler, ...] = ()
