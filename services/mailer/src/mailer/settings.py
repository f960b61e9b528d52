"""What the mailer reads from the environment, beyond what every service does."""

from typing import Annotated, Final
from urllib.parse import unquote, urlsplit

import msgspec

from chassis.settings import SecretUrl, ServiceSettings, split_url
from contracts.errors import Invalid
from mailer.domain.addresses import Address, parse_recipient
from mailer.domain.email_templates import LOCALE
from mailer.smtp import SmtpServer
from mailer.usecases.deliver_emails import Pace
from mailer.usecases.open_origin import Origin

_LOCAL_SENDER: Final = "no-reply@mailer.test"


class SmtpUrl(SecretUrl):
    """`smtp://[user:password@]host[:port]` (STARTTLS where it is offered), or `smtps://` (TLS from the first byte)."""

    def __init__(self, value: str) -> None:
        parts = split_url(value)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError("it is not smtp://host:port or smtps://host:port")
        super().__init__(value)

    def server(self) -> SmtpServer:
        """The server that it names."""
        parts = urlsplit(self.reveal())
        is_tls = parts.scheme == "smtps"
        return SmtpServer(
            host=parts.hostname or "",
            port=parts.port or (465 if is_tls else 587),
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls="implicit" if is_tls else "opportunistic",
        )


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """The mailer's own variables.

    SMTP_URL and SENDER_* serve those for whom neither they nor the platform have active settings. SENDER_EMAIL may be
    absent in local mode only, MESSAGE_ID_DOMAIN is its domain unless it is set. ALLOW_PRIVATE_SMTP lets settings name
    servers that only the inside can reach; unset, that is so in local mode only.
    """

    smtp_url: SmtpUrl | None = None
    sender_email: str = _LOCAL_SENDER
    sender_name: str | None = None
    message_id_domain: str = ""
    default_locale: Annotated[str, msgspec.Meta(pattern=LOCALE)] = "pt-BR"
    allow_private_smtp: bool | None = None
    render_workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    mails_under_way: Annotated[int, msgspec.Meta(ge=4, le=10_000)] = 512
    mail_lease_s: Annotated[float, msgspec.Meta(ge=1, le=3_600)] = 20.0

    def __post_init__(self) -> None:
        if self.environment != "local" and self.sender_email == _LOCAL_SENDER:
            raise ValueError("SENDER_EMAIL is missing")
        try:
            sender = parse_recipient(self.sender_email, field="SENDER_EMAIL")
        except Invalid as refusal:
            raise ValueError(refusal.detail) from None
        try:
            domain = parse_recipient(f"id@{self.message_id_domain or sender.domain}").domain
        except Invalid:
            raise ValueError("MESSAGE_ID_DOMAIN is not a domain name") from None
        msgspec.structs.force_setattr(self, "sender_email", sender.email)
        msgspec.structs.force_setattr(self, "message_id_domain", domain)

    @property
    def private_smtp(self) -> bool:
        """Whether settings may name an internal SMTP server."""
        return self.environment == "local" if self.allow_private_smtp is None else self.allow_private_smtp

    @property
    def default_origin(self) -> Origin | None:
        """What mails go out through when nobody's settings say."""
        if self.smtp_url is None:
            return None
        return Origin(server=self.smtp_url.server(), sender=Address(self.sender_email, self.sender_name))

    @property
    def pace(self) -> Pace:
        """How much the delivery worker takes on."""
        return Pace(under_way=self.mails_under_way, lease_s=self.mail_lease_s)
