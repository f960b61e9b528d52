"""Turns stored settings into what a mail goes out through; the only place where an SMTP password is opened."""

import msgspec

from chassis.secrets import SecretBox
from contracts.tenancy import PLATFORM_TENANT_ID
from mailer.domain.addresses import Address
from mailer.domain.email_settings import EmailSettings
from mailer.smtp import SmtpServer


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The server that sends, and the mailbox that it sends from."""

    server: SmtpServer
    sender: Address


def open_origin(settings: EmailSettings, box: SecretBox, *, allow_private_smtp: bool) -> Origin:
    """The server and the sender of one row; a tenant's may lead to our own network only where that is allowed.

    Raises chassis.secrets.SecretUnreadable when the password was sealed for another row or with a key that is gone.
    """
    sealed = settings.smtp_pass
    return Origin(
        server=SmtpServer(
            host=settings.smtp_host,
            port=settings.smtp_port,
            user=settings.smtp_user,
            password=box.open(sealed, settings.tenant_id, "email_settings", settings.id) if sealed else None,
            tls="implicit" if settings.smtp_secure else "opportunistic",
            public_only=not (allow_private_smtp or settings.tenant_id == PLATFORM_TENANT_ID),
        ),
        sender=Address(settings.sender_email, settings.sender_name),
    )
