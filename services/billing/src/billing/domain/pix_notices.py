"""BACEN's notice of received PIX, read into one notice per transfer and per step of each return.

`POST {webhookUrl}/pix {"pix": [{endToEndId, txid, valor, horario, infoPagador, devolucoes?}]}`, API Pix 2.9.0. Whoever
banks at the same institution can point a notice at us (bacen/pix-api #239): it says which payment to look at, no more.
"""

import hashlib
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Final

import msgspec

from billing.domain.providers import Notice
from contracts.errors import Malformed

_MAX_TRANSFERS: Final = 1000
#: What a time without an offset is taken for: the banks' own.
_BRASILIA: Final = timezone(timedelta(hours=-3))
_AMOUNT: Final = re.compile(r"\d{1,10}\.\d{2}")

EndToEndId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]{32}\Z")]
Txid = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]{1,35}\Z")]


class _Return(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]{1,35}\Z")]
    status: Annotated[str, msgspec.Meta(pattern=r"^[A-Z_]{1,40}\Z")]  # EM_PROCESSAMENTO, DEVOLVIDO, NAO_REALIZADO


class _Transfer(msgspec.Struct, rename="camel"):
    end_to_end_id: EndToEndId
    txid: Txid
    valor: str
    horario: str | None = None
    devolucoes: list[_Return] | None = None


class _Body(msgspec.Struct):
    pix: list[msgspec.Raw]


class PixTransfer(msgspec.Struct, frozen=True, kw_only=True):
    """One transfer as a notice has it."""

    end_to_end_id: str
    txid: str
    amount_cents: int
    at: datetime | None


def read_pix_notices(raw: bytes) -> list[tuple[Notice, bytes]]:
    """A notice for each transfer in the body and for each step of its returns, with that part of the body.

    A part that cannot be read becomes a notice of kind `other`, so that its neighbours are not lost with it. A transfer
    is named by its end-to-end id and the txid it was for: the same one for another txid is other news. Raises Malformed
    for a body without a list of at most 1,000 transfers.
    """
    try:
        parts = msgspec.json.decode(raw, type=_Body).pix
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("The body has no list of transfers.", code="malformed_pix") from None
    if len(parts) > _MAX_TRANSFERS:
        raise Malformed("The body has too many transfers.", code="malformed_pix")
    return [found for part in parts for found in _notices(bytes(part))]


def read_pix_transfer(part: bytes) -> PixTransfer | None:
    """The transfer in one such part; None for what cannot be read."""
    transfer = _read(part)
    if transfer is None:
        return None
    return PixTransfer(
        end_to_end_id=transfer.end_to_end_id,
        txid=transfer.txid,
        amount_cents=int(transfer.valor.replace(".", "")),
        at=_moment(transfer.horario),
    )


def _notices(part: bytes) -> list[tuple[Notice, bytes]]:
    transfer = _read(part)
    if transfer is None:
        event_id = f"sha256:{hashlib.sha256(part).hexdigest()}"
        return [(Notice(event_id=event_id, type="pix.unreadable", kind="other"), part)]
    name = f"{transfer.end_to_end_id}/{transfer.txid}"
    received = Notice(
        event_id=name,
        type="pix.received",
        kind="payment",
        object_external_id=transfer.end_to_end_id,
        reference=transfer.txid,
        occurred_at=_moment(transfer.horario),
    )
    steps = [
        msgspec.structs.replace(received, event_id=f"{name}/{back.id}/{back.status}", type="pix.returned")
        for back in transfer.devolucoes or ()
    ]
    return [(notice, part) for notice in (received, *steps)]


def _read(part: bytes) -> _Transfer | None:
    try:
        transfer = msgspec.json.decode(part, type=_Transfer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return transfer if _AMOUNT.fullmatch(transfer.valor) else None


def _moment(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text or "")
        return (found if found.tzinfo else found.replace(tzinfo=_BRASILIA)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
