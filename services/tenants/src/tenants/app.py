"""Composition root: settings -> passwords, tokens -> routes, events and workers -> the service."""

from collections.abc import Mapping

from litestar import Litestar

from chassis.app import create_app
from chassis.secrets import SecretBox
from chassis.settings import load
from tenants.access_tokens import AccessTokens
from tenants.api import ROUTES
from tenants.events import HANDLERS
from tenants.passwords import Passwords
from tenants.settings import Settings


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
    return create_app(
        name="tenants",
        settings=settings,
        routes=ROUTES,
        handlers=HANDLERS,
        resources=[lambda: passwords],
        dependencies={"box": box, "passwords": passwords, "tokens": tokens},
    )
