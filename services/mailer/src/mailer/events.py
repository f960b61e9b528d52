"""What the mailer consumes: the foreign queue of mail jobs, and requests about a person's data."""

import asyncio
from collections.abc import Callable, Sequence

from bus.consumer import Consumer, Handler, Incoming, event_consumer
from bus.envelope import Envelope
from bus.failpoints import failpoint
from chassis.db import Connection, platform_transaction
from chassis.lifecycle import Runtime
from chassis.secrets import SecretBox
from contracts.mailer import MAIL_QUEUE
from contracts.tenants import ErasureRequested, ExportRequested
from mailer.usecases.accept_jobs import accept_jobs
from mailer.usecases.erase_recipient import erase_recipient
from mailer.usecases.export_recipient import export_recipient


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


def privacy_queue(box: SecretBox) -> Callable[[Runtime], Consumer]:
    """The consumer of events. Its transactions are the platform's: only the worker's role writes the delivery log."""

    def consumer(runtime: Runtime) -> Consumer:
        async def on_erasure_requested(conn: Connection, event: ErasureRequested, envelope: Envelope) -> None:
            await erase_recipient(conn, event, now=runtime.clock())

        async def on_export_requested(conn: Connection, event: ExportRequested, envelope: Envelope) -> None:
            await export_recipient(conn, event, box=box, now=runtime.clock())

        handlers = (Handler(ErasureRequested, on_erasure_requested), Handler(ExportRequested, on_export_requested))
        return event_consumer("mailer", handlers, lambda _: platform_transaction(runtime.db))

    return consumer
