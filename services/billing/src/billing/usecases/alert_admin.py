"""Tells the platform's administrator by mail of money that no program can settle."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from billing.usecases.queue_mail import queue_mail
from chassis.db import Connection

#: In Portuguese, as all that the platform writes to its own people.
WORDS: Final = {
    "refund_overdue": (
        "Reembolsos sem resposta",
        "O provedor recebeu o pedido e não devolveu o dinheiro no prazo. Continuamos perguntando; fale com ele",
    ),
    "under_review": (
        "Pagamentos em revisão",
        "Entrou dinheiro que não serve a nenhuma cobrança em aberto. Para devolver: POST /payments/{id}/refund",
    ),
}
#: The template's own look; billing's mails have no brand.
_BRAND: Final = {"brand_name": "Backoffice", "brand_color": "#D62598"}
_SHOWN: Final = 20


async def alert_admin(
    conn: Connection, what: str, matters: Sequence[str], *, to: str, about: UUID, key: str, now: datetime
) -> None:
    """One mail for all `matters`, each in a few words: ids and reasons, no names and no addresses."""
    title, message = WORDS[what]
    rest = len(matters) - _SHOWN
    told = "; ".join([*matters[:_SHOWN], *([f"e mais {rest}"] if rest > 0 else [])])
    await queue_mail(
        conn,
        "admin_alert",
        to,
        {
            "title": f"{title}: {len(matters)}",
            "message": f"{message}. {told}.",
            "at": now.isoformat(timespec="seconds"),
            **_BRAND,
        },
        tenant_id=None,
        about=about,
        key=key,
    )
