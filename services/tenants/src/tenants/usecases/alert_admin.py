"""Tells the platform's administrator by mail what no program can settle."""

from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from chassis.db import Connection
from tenants.domain.brand import brand_of
from tenants.domain.terms import Terms
from tenants.usecases.queue_mail import queue_mail

_log = structlog.get_logger("tenants.alerts")
#: In Portuguese, as all that the platform writes to its own people.
WORDS: Final = {
    "claim_expired": (
        "Pagamento não confirmado",
        "Um site de checkout informou um pagamento que ninguém confirmou no prazo.",
    ),
    "claim_refused": (
        "Pagamento recusado",
        "Um site de checkout informou um pagamento que o financeiro não reconhece.",
    ),
    "barred_user_paid": (
        "Pagamento de conta suspensa",
        "Uma conta suspensa ou inativa pagou. Ela continua como estava; decida o que fazer.",
    ),
    "order_without_owner": (
        "Pagamento sem dono",
        "Um pagamento foi confirmado sem um endereço de e-mail que se possa usar: ninguém pode entrar.",
    ),
    "closed_tenant_paid": (
        "Pagamento de empresa encerrada",
        "Uma empresa encerrada pagou. Ela continua encerrada; decida o que fazer.",
    ),
}


async def alert_admin(conn: Connection, what: str, *, about: UUID, terms: Terms, now: datetime, **facts: str) -> None:
    """One mail to ADMIN_EMAIL for `what` happened to `about`, however often it is asked for; without one, a log line.

    `facts` are ids and reasons, no names and no addresses.
    """
    title, message = WORDS[what]
    told = "; ".join(f"{name}: {value}" for name, value in facts.items() if value)
    _log.warning(what, about=str(about), **facts)
    await queue_mail(
        conn,
        "admin_alert",
        terms.admin_email,
        {
            "title": title,
            "message": f"{message} ({told})" if told else message,
            "at": now.isoformat(timespec="seconds"),
            **brand_of(None),
        },
        about=about,
        key=f"{what}:{about}",
    )
