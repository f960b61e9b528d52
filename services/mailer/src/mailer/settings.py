"""What the mailer reads from the environment, beyond what every service does."""

from urllib.parse import unquote, urlsplit

from chassis.settings import SecretUrl, ServiceSettings, split_url
from contracts.errors import Invalid
from mailer.domain.addresses import Address, parse_recipient
from mailer.smtp import SmtpServer
from mailer.usecases.deliver_emails import Pace
from mailer.usecases.open_origin import Origin


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

    SMTP_URL and SENDER_* serve those for whom neither they nor the platform have active settings. ALLOW_PRIVATE_SMTP
    lets settings name servers that only the inside can reach; unset, that is so in local mode only.
    """

    smtp_url: SmtpUrl | None = None
    sender_email: str = "no-reply@mailer.test"
    sender_name: str | None = None
    message_id_domain: str = "mailer.test"
    default_locale: str = "pt-BR"
    allow_private_smtp: bool | None = None
    render_workers: int = 1
    mails_under_way: int = 512
    mail_lease_s: float = 20.0

    def __post_init__(self) -> None:
        try:
            parse_recipient(self.sender_email, field="SENDER_EMAIL")
        except Invalid as refusal:
            raise ValueError(refusal.detail) from None

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
