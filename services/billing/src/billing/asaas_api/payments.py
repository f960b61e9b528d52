"""Asaas' payments: made once for each reference, given back once for each key."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from billing.asaas_api.connection import an_object, every, objects, path
from billing.asaas_api.states import DISPUTED, SAO_PAULO, moment, payment_state, read, reais
from billing.domain.br_code import BrCodeRefused, parse_br_code
from billing.domain.providers import (
    NotAtProvider,
    PaymentState,
    PaymentStatus,
    PixCode,
    ProviderRefused,
    RefundState,
)
from billing.provider_http import ProviderHttp
from contracts.errors import BadGateway


class AsaasPix(msgspec.Struct, frozen=True, kw_only=True):
    """A payment's PIX code, its QR image as Base64 of a PNG, and Asaas' own object."""

    code: PixCode
    encoded_image: str
    raw: dict[str, object]


class PaymentPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a listing: what it holds in our words, and Asaas' own answer."""

    payments: tuple[PaymentState, ...]
    has_more: bool
    raw: dict[str, object]


class _Pix(msgspec.Struct, rename="camel", kw_only=True):
    payload: str
    encoded_image: str = ""
    expiration_date: str | None = None


async def get_payment(http: ProviderHttp, external_id: str) -> PaymentState:
    """A payment as it stands. Raises NotAtProvider."""
    return payment_state(an_object(await http.ask("GET", path("payments", external_id))))


async def find_payment(http: ProviderHttp, reference: str) -> PaymentState | None:
    """The payment with our reference: the first one made that is not withdrawn, else None."""
    found = await oldest(http, "/payments", reference)
    return payment_state(found) if found else None


async def ensure_payment(http: ProviderHttp, body: Mapping[str, object]) -> PaymentState:
    """The payment with the body's `externalReference`, made when there is none."""
    found = await find_payment(http, str(body["externalReference"]))
    return found or payment_state(an_object(await http.ask("POST", "/payments", json=body)))


async def oldest(http: ProviderHttp, where: str, reference: str) -> dict[str, Any] | None:
    """The first made object with our reference that is not withdrawn.

    The filter is Asaas' business, the answer is ours to check: a filter that it ignores would give us a stranger's.
    """
    found = [
        one
        async for one in every(http, where, {"externalReference": reference})
        if one.get("externalReference") == reference and not one.get("deleted")
    ]
    return min(found, key=lambda one: (str(one.get("dateCreated")), str(one.get("id"))), default=None)


async def list_payments(http: ProviderHttp, filters: Mapping[str, str], *, offset: int, limit: int) -> PaymentPage:
    """One page of payments, by Asaas' own filters."""
    params = {**filters, "offset": str(offset), "limit": str(limit)}
    page = an_object(await http.ask("GET", "/payments", params=params))
    states = tuple(payment_state(one) for one in objects(page))
    return PaymentPage(payments=states, has_more=bool(page.get("hasMore")), raw=page)


async def list_payments_since(http: ProviderHttp, since: datetime) -> list[PaymentState]:
    """What was made, paid, missed or disputed since that day in São Paulo, each once.

    A card that is confirmed has no `paymentDate` until it is credited a month later, a dispute no date to filter by:
    both are listed whole by status, confirmed ones then sorted out by the day on which they were paid. What is left to
    webhooks alone is a refund of an older payment: Asaas lists refunds by no date.
    """
    day = since.astimezone(SAO_PAULO).date()
    first = moment(day.isoformat())
    searches = [
        {"dateCreated[ge]": day.isoformat()},
        {"paymentDate[ge]": day.isoformat()},
        {"status": "OVERDUE", "dueDate[ge]": (day - timedelta(days=1)).isoformat()},
        *({"status": status} for status in ("CONFIRMED", *DISPUTED)),
    ]
    found: dict[str, PaymentState] = {}
    for search in searches:
        async for one in every(http, "/payments", search):
            state = payment_state(one)
            if search.get("status") == "CONFIRMED" and state.paid_at and first and state.paid_at < first:
                continue
            found[state.external_id] = state
    return list(found.values())


async def cancel_payment(http: ProviderHttp, external_id: str) -> None:
    """Withdraws an unpaid payment; one that is withdrawn already stays so. Raises ProviderRefused for a paid one."""
    try:
        await http.ask("DELETE", path("payments", external_id))
    except (NotAtProvider, ProviderRefused):
        if (await get_payment(http, external_id)).status is not PaymentStatus.CANCELLED:
            raise


async def refund(
    http: ProviderHttp, external_id: str, amount_cents: int | None, description: str, *, key: str
) -> RefundState:
    """Gives `amount_cents` of a payment back, or all of it, once for each `key`."""
    before = an_object(await http.ask("GET", path("payments", external_id)))
    if found := _refund_of(before, key):
        return found
    body: dict[str, object] = {"description": f"{description[:200]} ({key})"}
    if amount_cents is not None:
        body["value"] = reais(amount_cents)
    after = an_object(await http.ask("POST", path("payments", external_id, "refund"), json=body))
    if found := _refund_of(after, key):
        return found
    state = payment_state(after)
    return RefundState(
        external_id=f"{external_id}/{key}",
        status="done" if state.status is PaymentStatus.REFUNDED else "pending",
        amount_cents=state.amount_cents if amount_cents is None else amount_cents,
    )


def _refund_of(payment: Mapping[str, Any], key: str) -> RefundState | None:
    """The refund that was asked for under the key, unless it failed."""
    for one in payment_state(payment).refunds:
        if one.external_id == f"{payment.get('id')}/{key}" and one.status != "failed":
            return one
    return None


async def get_pix(http: ProviderHttp, external_id: str) -> AsaasPix:
    """A PIX payment's code. The request has no body: Asaas answers 403 to a GET that has one."""
    raw = an_object(await http.ask("GET", path("payments", external_id, "pixQrCode")))
    pix = read(raw, _Pix)
    try:
        txid = parse_br_code(pix.payload).txid
    except BrCodeRefused as error:
        raise BadGateway(f"Asaas answered a PIX code that no bank would take: {error}") from None
    code = PixCode(copy_paste=pix.payload, txid=txid, expires_at=moment(pix.expiration_date))
    return AsaasPix(code=code, encoded_image=pix.encoded_image, raw=raw)
