"""What both dialects do about charges; each then answers in its own words."""

import base64
from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from billing import store
from billing.accounts import Accounts
from billing.api.payment_gateway.answers import cents_of
from billing.api.payment_gateway.charge_shapes import ChargeFields, RefundFields
from billing.asaas_api import AsaasApi
from billing.domain.charging import ChargeOptions
from billing.domain.payments import Payment
from billing.domain.provider_accounts import Environment
from billing.domain.providers import NotAtProvider, PaymentState, Provider
from billing.qr_image import qr_png
from billing.store.charges import ChargedCustomer
from billing.usecases.adopt_customer import adopt_customer
from billing.usecases.choose_account import choose_account
from billing.usecases.create_charge import create_charge
from billing.usecases.locate_charge import locate_charge
from billing.usecases.refresh_charge import refresh_charge
from billing.usecases.refresh_refunds import refresh_refunds
from billing.usecases.refund_payment import refund_payment
from billing.usecases.request_charge import request_charge
from billing.usecases.request_refund import request_refund
from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from chassis.doers import doer_of
from chassis.idempotency import KEY_HEADER, once
from chassis.identity import Identity, requires, tenant_of
from chassis.secrets import SecretBox
from contracts.errors import NotFound


class Desk(msgspec.Struct, frozen=True):
    """Who asks, and what their charges are made with."""

    db: Database
    identity: Identity
    clock: Clock
    box: SecretBox
    accounts: Accounts
    options: ChargeOptions

    @property
    def tenant_id(self) -> UUID:
        """The tenant that charges."""
        return tenant_of(self.identity)


async def open_desk(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    box: NamedDependency[SecretBox],
    accounts: NamedDependency[Accounts],
    charge_options: NamedDependency[ChargeOptions],
) -> Desk:
    """The desk of a request."""
    return Desk(db, identity, clock, box, accounts, charge_options)


#: What a route has that takes a `desk`.
DESK: Final = {"desk": Provide(open_desk)}


READ: Final = [requires("billing:read")]
Limit = Annotated[int, QueryParameter(ge=1, le=100)]
Offset = Annotated[int, QueryParameter(ge=0, le=100_000)]


class _Planned(msgspec.Struct, frozen=True):
    payment_id: UUID


class _Intended(msgspec.Struct, frozen=True):
    refund_id: UUID


class PixImage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A PIX code as Asaas answers it: a PNG in Base64, and the text to paste."""

    encoded_image: str
    payload: str
    expiration_date: str | None
    success: bool = True


async def make_charge(
    desk: Desk,
    data: ChargeFields,
    gateway: Provider,
    customer: str,
    request: StrictRequest,
    *,
    environment: Environment | None = None,
) -> tuple[Payment, Mapping[str, str]]:
    """The charge at its provider, and the headers that say whether this repeats an answer.

    Invoice and payment are committed before the provider is asked; with an Idempotency-Key once, whatever happens.
    """
    wanted = data.wanted()
    async with transaction(desk.db, desk.tenant_id) as conn:
        account = await choose_account(conn, desk.tenant_id, gateway, environment)
    payer = await adopt_customer(
        desk.db, desk.accounts, desk.tenant_id, account, customer, box=desk.box, clock=desk.clock
    )

    async def plan(conn: Connection) -> _Planned:
        payment = await create_charge(
            conn,
            account,
            payer,
            wanted,
            box=desk.box,
            notification_url=desk.options.notification_url(gateway),
            now=desk.clock(),
        )
        return _Planned(payment.id)

    stored = await once(request, desk.db, data, plan, status=200)
    planned = msgspec.json.decode(stored.content, type=_Planned)
    payment = await request_charge(
        desk.db,
        desk.accounts,
        desk.tenant_id,
        planned.payment_id,
        box=desk.box,
        nexus_events=desk.options.nexus_events,
        clock=desk.clock,
    )
    return payment, dict(stored.headers)


async def current_charge(desk: Desk, gateway: Provider, name: str) -> Payment | PaymentState:
    """The charge as its provider has it now, taken in where it is ours. Raises NotFound."""
    found = await locate_charge(desk.db, desk.accounts, desk.tenant_id, gateway, name)
    if isinstance(found, PaymentState):
        return found
    return await refresh_charge(desk.db, desk.accounts, desk.tenant_id, found.id, clock=desk.clock)


async def own_charge(desk: Desk, gateway: Provider, name: str) -> Payment:
    """The charge, which was made here. Raises NotFound."""
    found = await locate_charge(desk.db, desk.accounts, desk.tenant_id, gateway, name)
    if isinstance(found, PaymentState):
        raise NotFound("This charge was not made here: whoever made it can change it.")
    return found


async def pix_of(desk: Desk, gateway: Provider, name: str) -> PixImage:
    """The charge's PIX code. Raises NotFound for a charge without one."""
    found = await locate_charge(desk.db, desk.accounts, desk.tenant_id, gateway, name)
    if isinstance(found, Payment) and found.pix_copy_paste is not None:
        expires = found.pix_expires_at.isoformat() if found.pix_expires_at else None
        return _drawn(found.pix_copy_paste, expires)
    if found.external_id is None or gateway is not Provider.ASAAS:
        raise NotFound("The charge has no PIX code.")
    async with transaction(desk.db, desk.tenant_id) as conn:
        account = await choose_account(conn, desk.tenant_id, gateway)
        account_id = found.account_id if isinstance(found, Payment) else account.id
        api = await desk.accounts.open(conn, desk.tenant_id, account_id, gateway)
    assert isinstance(api, AsaasApi)
    try:
        pix = await api.get_pix(found.external_id)
    except NotAtProvider:
        raise NotFound("The charge has no PIX code.") from None
    return _drawn(pix.code.copy_paste, pix.code.expires_at.isoformat() if pix.code.expires_at else None)


async def list_own_charges(
    desk: Desk, gateway: Provider, **narrowed: Any
) -> list[tuple[Payment, ChargedCustomer | None]]:
    """The tenant's charges at that provider as they were last heard of, newest first, each with whom it charges.

    `narrowed` is how `store.charges.list_charges` narrows and pages them.
    """
    async with transaction(desk.db, desk.tenant_id) as conn:
        rows = await store.charges.list_charges(conn, desk.tenant_id, provider=gateway.value, **narrowed)
        names = await store.charges.list_customers(conn, desk.tenant_id, gateway.value, [row.id for row in rows])
    return [(row, names.get(row.id)) for row in rows]


async def customer_of(desk: Desk, payment: Payment) -> ChargedCustomer | None:
    """What the CRM and the provider call who is charged."""
    async with transaction(desk.db, desk.tenant_id) as conn:
        return (await store.charges.list_customers(conn, desk.tenant_id, payment.provider.value, [payment.id])).get(
            payment.id
        )


async def refund_charge(
    desk: Desk, data: RefundFields, gateway: Provider, name: str, request: StrictRequest
) -> tuple[Payment, Mapping[str, str]]:
    """The charge after so much of it went back, and the headers that say whether this repeats an answer.

    With an Idempotency-Key it goes back once; without one, what repeats an open refund is that refund. Raises NotFound
    for a charge that was not made here, Conflict for one without money, or for more than is left of it.
    """
    charge = await own_charge(desk, gateway, name)
    if not charge.is_settled:  # the hint that it was paid may have been lost
        charge = await refresh_charge(desk.db, desk.accounts, desk.tenant_id, charge.id, clock=desk.clock)
    else:
        await refresh_refunds(desk.db, desk.tenant_id, charge.id, accounts=desk.accounts, clock=desk.clock)
    amount_cents = None if data.value is None else cents_of(data.value)

    async def intend(conn: Connection) -> _Intended:
        refund = await request_refund(
            conn,
            desk.tenant_id,
            charge.id,
            amount_cents=amount_cents,
            reason=data.description or None,
            is_keyed=KEY_HEADER in request.headers,
            may_refund_sales=False,
            by=doer_of(request),
            now=desk.clock(),
        )
        return _Intended(refund.id)

    stored = await once(request, desk.db, data, intend, status=200)
    intended = msgspec.json.decode(stored.content, type=_Intended)
    refunded = await refund_payment(
        desk.db, desk.tenant_id, intended.refund_id, accounts=desk.accounts, clock=desk.clock
    )
    return refunded.payment, dict(stored.headers)


def _drawn(copy_paste: str, expires: str | None) -> PixImage:
    image = base64.b64encode(qr_png(copy_paste)).decode()
    return PixImage(encoded_image=image, payload=copy_paste, expiration_date=expires)


Raw = dict[str, Any]
