"""Composition root: settings -> accounts at providers -> routes, queues and workers -> the service."""

from collections.abc import Mapping

from litestar import Litestar

from billing.accounts import Accounts
from billing.api import ROUTES
from billing.api.intake import Intake
from billing.events import HANDLERS, outputs, people, provider_events, tenant_claims
from billing.settings import Settings
from billing.usecases.run_schedules import run_schedules
from chassis.app import create_app
from chassis.lifecycle import Runtime
from chassis.secrets import SecretBox
from chassis.settings import load


def build(env: Mapping[str, str]) -> Litestar:
    """Billing for this environment. Raises SettingsError when it cannot be served from."""
    settings = load(Settings, env)
    box = SecretBox(settings.secrets_key, settings.secrets_key_previous)
    accounts = Accounts(settings.credentials, box)
    intake = Intake(accounts)
    n8n = settings.n8n

    async def scheduler(runtime: Runtime) -> None:
        await run_schedules(
            runtime.db,
            accounts,
            settings.schedule,
            box=box,
            n8n=n8n,
            clock=runtime.clock,
            stopping=runtime.stopping,
        )

    return create_app(
        name="billing",
        settings=settings,
        routes=ROUTES,
        handlers=(*HANDLERS, *outputs(nexus_events=settings.nexus_events, n8n=n8n is not None)),
        queues=[provider_events(accounts), tenant_claims(accounts, box, settings.terms), people(box)],
        workers=[scheduler],
        resources=[lambda: accounts, lambda: intake, *([lambda: n8n] if n8n else [])],
        dependencies={
            "box": box,
            "accounts": accounts,
            "terms": settings.terms,
            "intake": intake,
            "pix_webhook_secrets": settings.pix_webhook_secrets,
            "charge_options": settings.charges,
        },
    )
