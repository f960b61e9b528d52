"""What the tenants service reads from the environment, beyond what every service does."""

from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from chassis.settings import Secret, ServiceSettings
from tenants.api.session_cookies import CookieTerms
from tenants.domain.sign_in import SignInTerms
from tenants.domain.terms import Terms


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """The tenants service's own variables.

    JWT_SECRET signs access tokens, as the Go core does; JWT_ISSUER and JWT_AUDIENCE go into them where they are set.
    FRONTEND_URL is where links in mails lead to. EXTERNAL_API_KEY, seed 002's one static key, is taken in at the first
    start as a key of the platform with the scope `payments:claim`, so that the checkout site need not change.
    """

    jwt_secret: Secret
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    access_token_s: Annotated[int, msgspec.Meta(ge=60, le=86_400 * 7)] = 900
    refresh_token_days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 30
    frontend_url: str = "http://127.0.0.1:3001"
    reset_link_minutes: Annotated[int, msgspec.Meta(ge=5, le=1440)] = 30
    invitation_days: Annotated[int, msgspec.Meta(ge=1, le=90)] = 7
    claim_hours: Annotated[int, msgspec.Meta(ge=1, le=168)] = 24
    grace_days: Annotated[int, msgspec.Meta(ge=0, le=90)] = 3
    password_threads: Annotated[int, msgspec.Meta(ge=1, le=16)] = 2
    cookie_secure: bool = True
    cookie_same_site: Literal["lax", "strict", "none"] = "lax"
    external_api_key: Secret | None = None
    admin_email: str | None = None
    schedule_every_s: float = 30.0
    privacy_services: tuple[str, ...] = ("billing", "mailer", "tenants")  # who has to report before a request is done

    def __post_init__(self) -> None:
        parts = urlsplit(self.frontend_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("FRONTEND_URL is not an http(s) URL")

    @property
    def terms(self) -> Terms:
        """What the use cases about people, tenants and claims decide by."""
        return Terms(
            frontend_url=self.frontend_url.rstrip("/"),
            admin_email=self.admin_email,
            invitation=timedelta(days=self.invitation_days),
            claim=timedelta(hours=self.claim_hours),
            grace=timedelta(days=self.grace_days),
        )

    @property
    def sign_in_terms(self) -> SignInTerms:
        """What sign-in decides by."""
        return SignInTerms(
            refresh_lifetime=timedelta(days=self.refresh_token_days),
            reset_lifetime=timedelta(minutes=self.reset_link_minutes),
            frontend_url=self.frontend_url,
        )

    @property
    def cookie_terms(self) -> CookieTerms:
        """How browsers are told to keep a session's tokens."""
        return CookieTerms(
            secure=self.cookie_secure,
            same_site=self.cookie_same_site,
            access_lifetime_s=self.access_token_s,
        )
