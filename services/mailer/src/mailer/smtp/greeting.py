"""Opening a connection: connected, greeted, encrypted as asked and logged in, or closed again."""

import asyncio
import ipaddress
import socket
import ssl

import aiosmtplib

from mailer.domain.email_settings import is_public
from mailer.domain.smtp_answers import Phase
from mailer.smtp.connection import Connection
from mailer.smtp.errors import SmtpFailure, SmtpMisconfigured, SmtpUnreachable, failure
from mailer.smtp.server import SmtpLimits, SmtpServer


async def connect(
    server: SmtpServer, limits: SmtpLimits, *, hello_name: str, tls_context: ssl.SSLContext | None
) -> Connection:
    """A new connection, ready for mails.

    Raises SmtpUnreachable, SmtpMisconfigured or SmtpDeferred.
    """
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=None if server.public_only else server.port,
        sock=await _public_socket(server, limits.connect_s) if server.public_only else None,
        local_hostname=hello_name,
        timeout=limits.connect_s,
        use_tls=server.tls == "implicit",
        start_tls=False,
        tls_context=tls_context,
    )
    try:
        await _introduce(client, server)
        return Connection(client, limits)
    except BaseException:
        client.close()
        raise


async def _public_socket(server: SmtpServer, wait_s: float) -> socket.socket:
    """A connection to the very address that was looked at: a name may mean another one a moment later."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(wait_s):
            found = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
            if not all(is_public(ipaddress.ip_address(address[0])) for *_, address in found):
                raise SmtpMisconfigured("the server's name leads to an internal address")
            family, kind, protocol, _, address = found[0]
            connected = socket.socket(family, kind, protocol)
            try:
                connected.setblocking(False)
                await loop.sock_connect(connected, address)
            except BaseException:
                connected.close()
                raise
    except TimeoutError:
        raise SmtpUnreachable(f"no answer in time ({Phase.CONNECT})") from None
    except OSError as error:
        raise SmtpUnreachable(f"no connection ({Phase.CONNECT}): {error}") from error
    return connected


async def _introduce(client: aiosmtplib.SMTP, server: SmtpServer) -> None:
    phase = Phase.CONNECT
    try:
        await client.connect()
        await _hello(client)
        if server.tls == "starttls" or (server.tls == "opportunistic" and client.supports_extension("starttls")):
            phase = Phase.TLS
            if not client.supports_extension("starttls"):
                raise SmtpMisconfigured("the server does not offer STARTTLS")
            await client.starttls()
            await _hello(client)
        if server.user:
            phase = Phase.AUTH
            await client.login(server.user, server.password or "")
    except aiosmtplib.SMTPResponseException as error:
        raise failure(phase, error.code, error.message) from error
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        raise _mishap(phase, error) from error


async def _hello(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError as error:
        if error.code == 421 or not client.is_connected:
            raise
        await client.helo()


def _mishap(phase: Phase, error: Exception) -> SmtpFailure:
    """What an error that is no answer of the server is to be raised as."""
    if isinstance(error, aiosmtplib.SMTPTimeoutError):
        return SmtpUnreachable(f"no answer in time ({phase})")
    for cause in (error, error.__cause__):
        if isinstance(cause, ssl.SSLError):
            return SmtpMisconfigured(f"TLS failed: {cause}")
    if phase is Phase.AUTH and not isinstance(error, OSError):
        return SmtpMisconfigured(f"the server takes no login of ours: {error}")
    return SmtpUnreachable(f"no connection ({phase}): {error.__cause__ or error}")
