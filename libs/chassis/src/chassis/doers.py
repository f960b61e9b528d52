"""Who calls, and from where, as use cases pass it on to the audit log."""

from ipaddress import ip_address
from typing import Any, Final

from litestar import Request

from contracts.audit import AuditActor, AuditContext, Doer

_USER_AGENT_CHARS: Final = 300


def doer_of(request: Request[Any, Any, Any]) -> Doer:
    """The caller with the client's address and agent.

    `x-forwarded-for` is believed because the gateway alone reaches a service (its signed identity came with the
    request) and always writes that header itself, with one address; what is no single address counts as unknown.
    """
    identity = request.user
    kind = identity.kind if identity.kind in ("user", "platform_admin", "api_key", "public") else "service"
    addresses = request.headers.getall("x-forwarded-for", [])
    agent = request.headers.get("user-agent", "")
    return Doer(
        actor=AuditActor(type=kind, id=identity.subject),
        context=AuditContext(
            location=_address(addresses[0].strip()) if len(addresses) == 1 else None,
            user_agent=agent[:_USER_AGENT_CHARS] or None,
        ),
    )


def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None
