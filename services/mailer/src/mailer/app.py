"""Composition root: settings -> adapters -> routes, queue and worker -> the service."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence

from litestar import Litestar

from chassis.app import create_app
from chassis.db import Database
from chassis.lifecycle import Runtime
from chassis.secrets import SecretBox
from chassis.settings import load
from mailer import import_gohorse
from mailer.api import ROUTES
from mailer.events import mail_queue, privacy_queue
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
            allow_private_smtp=settings.private_smtp,
            clock=runtime.clock,
            arrivals=arrivals,
            stopping=runtime.stopping,
            pace=settings.pace,
        )

    return create_app(
        name="mailer",
        settings=settings,
        routes=ROUTES,
        queues=[
            mail_queue(box, settings.default_locale, settings.message_id_domain, arrivals),
            privacy_queue(box),
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


def main(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """The mailer's own command line: `import-gohorse`. Returns the exit code."""
    settings = load(Settings, env)
    box = SecretBox(settings.secrets_key, settings.secrets_key_previous)
    db = Database(settings.database_url, "mailer", settings.db_role_secret)
    return asyncio.run(import_gohorse.run(arguments, db=db, box=box, locale=settings.default_locale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
