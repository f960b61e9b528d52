"""Who calls, as use cases ask it: from where, as whom audit records name them, and which person they are."""

from typing import Any
from uuid import UUID

from litestar import Request

from chassis.identity import Identity
from contracts.audit import AuditActor
from contracts.errors import NotFound, Unauthenticated
from tenants.domain.callers import Caller, caller


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    """The client's address and agent.

    `x-forwarded-for` is believed because the gateway alone reaches this service (its signed identity came with the
    request) and always writes that header itself, with one address: what a client sends under the name ends there.
    """
    addresses = request.headers.getall("x-forwarded-for", [])
    return caller(addresses[0].strip() if len(addresses) == 1 else "", request.headers.get("user-agent"))


def actor_of(identity: Identity) -> AuditActor:
    """The caller as audit records name them."""
    kind = identity.kind if identity.kind in ("user", "platform_admin", "api_key", "public") else "service"
    return AuditActor(type=kind, id=identity.subject)


def person_of(identity: Identity) -> UUID:
    """Which of our people calls.

    Raises Unauthenticated where nobody signed in, NotFound for a person of the Go core whom we have no account of.
    """
    if identity.kind not in ("user", "platform_admin"):
        raise Unauthenticated("Sign in first.")
    try:
        return UUID(identity.subject)
    except ValueError:
        raise NotFound("no such user") from None
