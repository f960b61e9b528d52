"""Composition root: settings -> passwords, tokens -> routes, events and workers -> the service."""

from collections.abc import Mapping
from datetime import timedelta

from litestar import Litestar

from chassis.app import create_app
from chassis.db import platform_transaction
from chassis.lifecycle import Runtime
from chassis.secrets import SecretBox
from chassis.settings import load
from tenants.access_tokens import AccessTokens
from tenants.api import ROUTES
from tenants.api.session_cookies import CookieTerms
from tenants.domain.sign_in import SignInTerms
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
            runtime.db,
            terms=terms,
            clock=runtime.clock,
            stopping=runtime.stopping,
            every_s=settings.schedule_every_s,
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
            "sign_in_terms": SignInTerms(
                refresh_lifetime=timedelta(days=settings.refresh_token_days),
                reset_lifetime=timedelta(minutes=settings.reset_link_minutes),
                frontend_url=settings.frontend_url,
            ),
            "cookie_terms": CookieTerms(
                secure=settings.cookie_secure,
                same_site=settings.cookie_same_site,
                access_lifetime_s=settings.access_token_s,
            ),
        },
    )
