"""Composition root: settings -> accounts at providers -> routes, queues and workers -> the service."""

from collections.abc import Mapping

from litestar import Litestar

from billing.accounts import Accounts
from billing.api import ROUTES
from billing.api.intake import Intake
from billing.events import HANDLERS, provider_events
from billing.settings import Settings
from chassis.app import create_app
from chassis.secrets import SecretBox
from chassis.settings import load


def build(env: Mapping[str, str]) -> Litestar:
    """Billing for this environment. Raises SettingsError when it cannot be served from."""
    settings = load(Settings, env)
    box = SecretBox(settings.secrets_key, settings.secrets_key_previous)
    accounts = Accounts(settings.credentials, box)
    intake = Intake(accounts)
    return create_app(
        name="billing",
        settings=settings,
        routes=ROUTES,
        handlers=HANDLERS,
        queues=[provider_events(accounts)],
        resources=[lambda: accounts, lambda: intake],
        dependencies={
            "box": box,
            "accounts": accounts,
            "terms": settings.terms,
            "intake": intake,
            "pix_webhook_secrets": settings.pix_webhook_secrets,
            "charge_options": settings.charges,
        },
    )
