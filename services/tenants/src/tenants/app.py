"""Composition root: settings -> passwords, tokens -> routes, events and workers -> the service."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence

from litestar import Litestar

from chassis.app import create_app
from chassis.db import Database, platform_transaction
from chassis.lifecycle import Runtime
from chassis.secrets import SecretBox
from chassis.settings import SettingsError, load
from tenants import platform_admin
from tenants.access_tokens import AccessTokens
from tenants.api import ROUTES
from tenants.events import billing_handlers, events_queue
from tenants.passwords import Passwords
from tenants.settings import Settings
from tenants.usecases.adopt_external_key import adopt_external_key
from tenants.usecases.run_schedules import run_schedules


def build(env: Mapping[str, str]) -> Litestar:
    """The tenants service for this environment. Raises SettingsError when it cannot be served from."""
    settings = load(Settings, env)
    box = SecretBox(settings.secrets_key, settings.secrets_key_previous)
    passwords = Passwords(settings.password_threads)
    tokens = AccessTokens(
        settings.jwt_secret.reveal(),
        lifetime_s=settings.access_token_s,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
    )
    terms = settings.terms

    async def take_in_external_key(runtime: Runtime) -> None:
        if settings.external_api_key is not None:
            async with platform_transaction(runtime.db) as conn:
                await adopt_external_key(conn, settings.external_api_key.reveal(), now=runtime.clock())

    async def schedules(runtime: Runtime) -> None:
        await run_schedules(
            runtime.db, terms=terms, clock=runtime.clock, stopping=runtime.stopping, every_s=settings.schedule_every_s
        )

    return create_app(
        name="tenants",
        settings=settings,
        routes=ROUTES,
        queues=[events_queue(box=box, privacy_services=settings.privacy_services, more=billing_handlers(terms))],
        workers=[schedules],
        on_ready=[take_in_external_key],
        resources=[lambda: passwords],
        dependencies={
            "terms": terms,
            "box": box,
            "passwords": passwords,
            "tokens": tokens,
            "sign_in_terms": settings.sign_in_terms,
            "cookie_terms": settings.cookie_terms,
        },
    )


def main(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """The service's own command line: `platform-admin`. Returns the exit code."""
    try:
        settings = load(Settings, env)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    db = Database(settings.database_url, "tenants", settings.db_role_secret, size=2)
    return asyncio.run(platform_admin.run(arguments, db=db, terms=settings.terms))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
