"""Composition root: settings -> adapters -> routes, queue and worker -> the service."""

import asyncio
from collections.abc import Mapping

from litestar import Litestar

from chassis.app import create_app
from chassis.lifecycle import Runtime
from chassis.secrets import SecretBox
from chassis.settings import load
from mailer.api import ROUTES
from mailer.events import HANDLERS, mail_queue
from mailer.renderer import Renderer
from mailer.settings import Settings
from mailer.smtp import SmtpLimits, SmtpPool
from mailer.usecases.deliver_emails import deliver_emails


def build(env: Mapping[str, str]) -> Litestar:
    """The mailer for this environment. Raises SettingsError when it cannot be served from."""
    settings = load(Settings, env)
    box = SecretBox(settings.secrets_key, settings.secrets_key_previous)
    renderer = Renderer(workers=settings.render_workers)
    # Its breaker is a backstop: the worker's lanes decide how often a dead server is asked.
    smtp = SmtpPool(SmtpLimits(open_s=2.0, longest_open_s=30.0))
    arrivals = asyncio.Event()

    async def delivery(runtime: Runtime) -> None:
        await deliver_emails(
            runtime.db,
            renderer=renderer,
            smtp=smtp,
            box=box,
            default_origin=settings.default_origin,
            default_locale=settings.default_locale,
            clock=runtime.clock,
            arrivals=arrivals,
            stopping=runtime.stopping,
            pace=settings.pace,
        )

    return create_app(
        name="mailer",
        settings=settings,
        routes=ROUTES,
        handlers=HANDLERS,
        queues=[
            mail_queue(
                box=box,
                default_locale=settings.default_locale,
                message_id_domain=settings.message_id_domain,
                arrivals=arrivals,
            )
        ],
        workers=[delivery],
        resources=[lambda: renderer, lambda: smtp],
        dependencies={
            "box": box,
            "renderer": renderer,
            "smtp": smtp,
            "default_locale": settings.default_locale,
            "allow_private_smtp": settings.private_smtp,
        },
    )
