"""What billing reads from the environment, beyond what every service does. Seeds 000 and 002 named most of it."""

from urllib.parse import urlsplit

from billing.accounts import PlatformCredentials
from billing.domain.charging import ChargeOptions
from billing.domain.dunning import DunningPolicy
from billing.domain.provider_accounts import Environment
from billing.domain.selling import SellingTerms
from billing.n8n_api import N8nApi
from billing.usecases.run_schedules import Schedule
from chassis.settings import Secret, ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """Billing's own variables. A provider without a key is not offered; with a key it needs its webhook secret too.

    STRIPE_WEBHOOK_SECRET, ASAAS_WEBHOOK_TOKEN and PIX_WEBHOOK_SECRET take several values, separated by commas, so that
    they can be rolled. Without the last one nobody's notice in BACEN's shape is taken.
    *_API_BASE point at another address than the provider's own. PUBLIC_URL is where providers reach the gateway.
    RETURN_HOSTS are the hosts a payer may be sent back to; the hosts of CHECKOUT_SUCCESS_URL and PUBLIC_URL always are.
    """

    stripe_secret_key: Secret | None = None
    stripe_webhook_secret: Secret | None = None
    stripe_api_base: str | None = None
    asaas_api_key: Secret | None = None
    asaas_webhook_token: Secret | None = None
    asaas_api_base: str | None = None
    asaas_environment: Environment = Environment.PRODUCTION
    pagseguro_token: Secret | None = None
    pagbank_api_base: str | None = None
    pagbank_environment: Environment = Environment.PRODUCTION
    pagbank_unsigned_sandbox: bool = False
    pix_webhook_secret: Secret | None = None

    public_url: str = "http://127.0.0.1:3001"
    checkout_success_url: str = "http://127.0.0.1:3001/checkout/success"
    checkout_cancel_url: str = "http://127.0.0.1:3001/checkout/cancel"
    return_hosts: tuple[str, ...] = ()
    order_expires_h: int = 72
    default_currency: str = "BRL"

    dunning_days: tuple[int, ...] = (0, 3, 7)
    trial_notice_days: int = 3
    refund_alert_days: int = 5
    reconcile_every_s: float = 3600.0
    schedule_every_s: float = 30.0

    contact_email: str | None = None
    admin_email: str | None = None
    nexus_events: bool = False
    n8n_webhook_url: str | None = None
    n8n_webhook_token: Secret | None = None

    def __post_init__(self) -> None:
        needed = (
            ("STRIPE_WEBHOOK_SECRET", self.stripe_secret_key, self.stripe_webhook_secret),
            ("ASAAS_WEBHOOK_TOKEN", self.asaas_api_key, self.asaas_webhook_token),
        )
        for name, key, secret in needed:
            if key is not None and not _values(secret):
                raise ValueError(f"{name} is missing: without it anybody could say that a payment was made")
        if list(self.dunning_days) != sorted(set(self.dunning_days)) or not self.dunning_days:
            raise ValueError("DUNNING_DAYS must be days in rising order, as in 0,3,7")
        if self.refund_alert_days < 1:
            raise ValueError("REFUND_ALERT_DAYS must be 1 or more: providers need a day to pay back")
        for name, url in (
            ("PUBLIC_URL", self.public_url),
            ("CHECKOUT_SUCCESS_URL", self.checkout_success_url),
            ("CHECKOUT_CANCEL_URL", self.checkout_cancel_url),
            *([("N8N_WEBHOOK_URL", self.n8n_webhook_url)] if self.n8n_webhook_url else []),
        ):
            if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
                raise ValueError(f"{name} is not an http(s) URL")

    @property
    def credentials(self) -> PlatformCredentials:
        """The platform's own accounts at the providers."""
        return PlatformCredentials(
            stripe_key=_reveal(self.stripe_secret_key),
            stripe_webhook_secrets=_values(self.stripe_webhook_secret),
            stripe_base=self.stripe_api_base,
            asaas_key=_reveal(self.asaas_api_key),
            asaas_webhook_tokens=_values(self.asaas_webhook_token),
            asaas_base=self.asaas_api_base,
            asaas_environment=self.asaas_environment,
            pagbank_token=_reveal(self.pagseguro_token),
            pagbank_base=self.pagbank_api_base,
            pagbank_environment=self.pagbank_environment,
            pagbank_unsigned_sandbox=self.pagbank_unsigned_sandbox,
        )

    @property
    def pix_webhook_secrets(self) -> tuple[str, ...]:
        """What a bank that sends notices in BACEN's shape has to show."""
        return _values(self.pix_webhook_secret)

    @property
    def dunning(self) -> DunningPolicy:
        """When whoever did not pay is written to, and when access ends."""
        return DunningPolicy(days=self.dunning_days)

    @property
    def charges(self) -> ChargeOptions:
        """What charging has to know of the environment."""
        return ChargeOptions(self.public_url, self.nexus_events)

    @property
    def schedule(self) -> Schedule:
        """What the scheduler has to know of the environment."""
        return Schedule(
            every_s=self.schedule_every_s,
            reconcile_every_s=self.reconcile_every_s,
            trial_notice_days=self.trial_notice_days,
            refund_alert_days=self.refund_alert_days,
            dunning=self.dunning,
            charges=self.charges,
            admin_email=self.admin_email,
        )

    @property
    def n8n(self) -> N8nApi | None:
        """Who is told of purchases, where the operator has named one."""
        return N8nApi(self.n8n_webhook_url, _reveal(self.n8n_webhook_token)) if self.n8n_webhook_url else None

    @property
    def known_hosts(self) -> frozenset[str]:
        """The hosts that a payer may be sent back to."""
        own = (self.public_url, self.checkout_success_url, self.checkout_cancel_url)
        return frozenset(host.lower() for host in self.return_hosts) | {urlsplit(url).hostname or "" for url in own}

    @property
    def terms(self) -> SellingTerms:
        """What selling has to know of the environment."""
        return SellingTerms(
            currency=self.default_currency,
            order_expires_h=self.order_expires_h,
            public_url=self.public_url,
            success_url=self.checkout_success_url,
            cancel_url=self.checkout_cancel_url,
            return_hosts=self.known_hosts,
            contact_email=self.contact_email,
        )


def _reveal(secret: Secret | None) -> str | None:
    return secret.reveal() if secret is not None else None


def _values(secret: Secret | None) -> tuple[str, ...]:
    text = secret.reveal() if secret is not None else ""
    return tuple(part.strip() for part in text.split(",") if part.strip())
