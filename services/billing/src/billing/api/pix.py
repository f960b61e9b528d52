"""PIX codes over HTTP (seed 003): asked for by /pix/create, looked at again by their TxID."""

import asyncio
import base64
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from billing import store
from billing.accounts import Accounts
from billing.api.selling import REPLAYED, one_of
from billing.domain.addresses import read_email, read_name
from billing.domain.buyers import Buyer
from billing.domain.charging import ChargeOptions
from billing.domain.payments import Payment
from billing.domain.pix_requests import PixPayer, PixRequest, shown_txid
from billing.domain.providers import Interval, Method, PaymentStatus, Provider
from billing.domain.selling import SellingTerms, Wanted
from billing.domain.tax_ids import read_tax_id
from billing.qr_image import qr_png, qr_svg
from billing.usecases.create_pix import create_pix
from billing.usecases.find_buyer import find_buyer
from billing.usecases.prepare_pix import prepare_pix
from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from chassis.idempotency import once
from chassis.identity import Identity, requires, tenant_of
from chassis.secrets import SecretBox
from contracts.errors import FieldError, Invalid, NotFound

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
#: Five minutes to what every provider keeps a code for (Stripe: 14 days, from when it hears of it).
Lifetime = Annotated[int, msgspec.Meta(ge=300, le=14 * 86_400 - 300)]
Amount = Annotated[int, msgspec.Meta(ge=1, le=99_999_999)]

_PROVIDERS: Final = {
    "stripe": Provider.STRIPE,
    "asaas": Provider.ASAAS,
    "pagbank": Provider.PAGBANK,
    "pagseguro": Provider.PAGBANK,
}


class PayerData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who pays; `tax_id` is a CPF or CNPJ, which Asaas and PagBank need."""

    email: Annotated[str, msgspec.Meta(max_length=1024)]
    name: Name | None = None
    tax_id: Annotated[str, msgspec.Meta(max_length=40)] | None = None


class PixData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of: a `plan` of the platform (or `plan_id`, `planId`), by the platform's account; an `invoice_id` that is
    owed; an `amount_cents` that a tenant asks of its own customer, by its own account.

    Without `provider`: Asaas, else PagBank, else Stripe, whichever is configured.
    """

    plan: Name | None = None
    plan_id: Name | None = None
    plan_id_camel: Name | None = msgspec.field(default=None, name="planId")
    interval: Interval = Interval.MONTH
    invoice_id: UUID | None = None
    amount_cents: Amount | None = None
    description: Name | None = None
    payer: PayerData | None = None
    expires_in_s: Lifetime = 86_400
    provider: Literal["stripe", "asaas", "pagbank", "pagseguro"] | None = None


class PixView(msgspec.Struct, frozen=True, kw_only=True):
    """A PIX payment. While it is pending: what to scan (`qr_code`, a PNG as data URL, and `qr_code_svg`) or paste."""

    txid: str
    status: PaymentStatus
    provider: Provider
    amount_cents: int
    currency: str
    description: str
    payment_id: UUID
    invoice_id: UUID
    order_id: UUID | None
    qr_code: str | None
    qr_code_svg: str | None
    copia_e_cola: str | None
    expires_at: datetime | None
    paid_at: datetime | None
    end_to_end_id: str | None


class _Prepared(msgspec.Struct, frozen=True):
    payment_id: UUID


@post("/pix/create", guards=[requires("billing:write")])
async def post_pix(
    data: JSONBody[PixData],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    accounts: NamedDependency[Accounts],
    box: NamedDependency[SecretBox],
    terms: NamedDependency[SellingTerms],
    charge_options: NamedDependency[ChargeOptions],
    clock: NamedDependency[Clock],
) -> Response[PixView]:
    """A PIX code for a plan, an invoice or an amount; the payer gets it by mail as well.

    An Idempotency-Key makes one code; an invoice has one at a time anyway.
    """
    wanted = _read(data, terms, clock())
    buyer = await _buyer(db, identity, wanted, clock())

    async def prepare(conn: Connection) -> _Prepared:
        payment = await prepare_pix(
            conn,
            buyer,
            wanted,
            platform=accounts.platform.configured,
            box=box,
            terms=terms,
            options=charge_options,
            now=clock(),
        )
        return _Prepared(payment.id)

    stored = await once(request, db, data, prepare, tenant_id=buyer.tenant_id)
    payment = await create_pix(
        db,
        accounts,
        buyer.tenant_id,
        msgspec.json.decode(stored.content, type=_Prepared).payment_id,
        box=box,
        nexus_events=charge_options.nexus_events,
        clock=clock,
    )
    headers = {REPLAYED: "true"} if REPLAYED in stored.headers else {}
    return Response(await _view(payment), status_code=201, headers=headers)


@get("/pix/{txid:str}", guards=[requires("billing:read")])
async def get_pix(db: NamedDependency[Database], identity: NamedDependency[Identity], txid: FromPath[str]) -> PixView:
    """A PIX payment by its TxID."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        payment = await store.payments.find_by_txid(conn, tenant_id, txid[:64])
        if payment is None and (ours := _own_txid(txid)) is not None:
            payment = await store.payments.find_payment(conn, tenant_id, ours)
    if payment is None or payment.method is not Method.PIX or shown_txid(payment) != txid:
        raise NotFound("no such PIX payment")
    return await _view(payment)


def _read(data: PixData, terms: SellingTerms, now: datetime) -> PixRequest:
    plan = one_of("plan", data.plan, data.plan_id, data.plan_id_camel)
    if [plan, data.invoice_id, data.amount_cents].count(None) != 2:
        raise Invalid(
            "Say what is to be paid: a plan, an invoice_id or amount_cents, and only one of them.",
            errors=(FieldError("$", "names none or several of plan, invoice_id and amount_cents"),),
        )
    return PixRequest(
        plan=Wanted(plan=plan, interval=data.interval, currency=terms.currency) if plan is not None else None,
        invoice_id=data.invoice_id,
        amount_cents=data.amount_cents,
        description=read_name(data.description, field="$.description"),
        payer=_payer(data.payer) if data.payer is not None else None,
        expires_at=(now + timedelta(seconds=data.expires_in_s)).replace(microsecond=0),
        provider=_PROVIDERS[data.provider] if data.provider is not None else None,
    )


def _payer(data: PayerData) -> PixPayer:
    tax_id = read_tax_id(data.tax_id) if data.tax_id else None
    if data.tax_id and tax_id is None:
        raise Invalid(
            "The tax id is neither a CPF nor a CNPJ.",
            code="invalid_tax_id",
            errors=(FieldError("$.payer.tax_id", "is neither a CPF nor a CNPJ"),),
        )
    return PixPayer(
        email=read_email(data.email, field="$.payer.email"),
        name=read_name(data.name, field="$.payer.name"),
        tax_id=tax_id,
    )


async def _buyer(db: Database, identity: Identity, wanted: PixRequest, now: datetime) -> Buyer:
    tenant_id = tenant_of(identity)
    if wanted.plan is None:
        return Buyer(tenant_id=tenant_id, email=None, is_signed_in=True)
    if wanted.payer is None:
        raise Invalid("Say who pays.", errors=(FieldError("$.payer", "is missing"),))
    payer = wanted.payer
    return await find_buyer(db, identity, email=payer.email, name=payer.name, tax_id=payer.tax_id, now=now)


def _own_txid(txid: str) -> UUID | None:
    try:
        return UUID(hex=txid)
    except ValueError:
        return None


async def _view(payment: Payment) -> PixView:
    code = payment.pix_copy_paste
    if payment.status is not PaymentStatus.PENDING or payment.review_reason is not None:
        code = None  # it is paid or over: nobody is to pay it again
    png, svg = await asyncio.to_thread(_images, code) if code is not None else (None, None)
    return PixView(
        txid=shown_txid(payment),
        status=payment.status,
        provider=payment.provider,
        amount_cents=payment.amount_cents,
        currency=payment.currency,
        description=payment.description,
        payment_id=payment.id,
        invoice_id=payment.invoice_id,
        order_id=payment.order_id,
        qr_code=png,
        qr_code_svg=svg,
        copia_e_cola=code,
        expires_at=payment.pix_expires_at,
        paid_at=payment.paid_at,
        end_to_end_id=payment.end_to_end_id,
    )


def _images(code: str) -> tuple[str, str]:
    return "data:image/png;base64," + base64.b64encode(qr_png(code)).decode(), qr_svg(code)


ROUTES: Final = [post_pix, get_pix]
