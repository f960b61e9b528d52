"""Seed 002's trials of PagBank: real orders of play money, in the tenant's sandbox account only."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from billing import store
from billing.api.payment_gateway.answers import Answer, answer, reais_of
from billing.api.payment_gateway.charge_shapes import ChargeFields, ChargeView, charge_view, raw_charge
from billing.api.payment_gateway.charging import DESK, Desk, PixImage, Raw, customer_of, make_charge, pix_of
from billing.api.payment_gateway.config import GUARDS
from billing.api.seed_errors import seed_errors
from billing.domain.brazil_days import day_in_brazil
from billing.domain.charging import NewCustomer
from billing.domain.payments import Payment
from billing.domain.provider_accounts import Environment
from billing.domain.providers import Provider
from billing.usecases.choose_account import choose_account
from billing.usecases.plan_customer import plan_customer
from billing.usecases.try_provider_account import try_provider_account
from chassis.body_guard import StrictRequest
from chassis.db import transaction
from contracts.errors import ServiceError

_SANDBOX: Final = Environment.SANDBOX
_LEAD: Final = "pagbank-trial"
_AMOUNT_CENTS: Final = 10_000


class PixTrialIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trial order: `amount` in centavos, as seed 002 had it."""

    amount: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] = _AMOUNT_CENTS
    description: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] = "Pagamento PIX de teste"


class PixTrialView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The order that was made, with its code."""

    success: bool
    order_id: str | None
    charge_id: str | None
    status: str
    amount: int
    qr_code: PixImage | None
    order: Raw


class TrialStep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One trial: PASSED with what it made, or FAILED with its error."""

    test: str
    status: str
    data: Raw = {}
    error: str | None = None


class TrialSummary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How many there were."""

    total: int
    passed: int
    failed: int
    success_rate: str


class TrialReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of all."""

    summary: TrialSummary
    results: list[TrialStep]
    timestamp: datetime


class OrderList(msgspec.Struct, frozen=True, kw_only=True):
    """The trial orders, newest first, at most 100."""

    orders: list[ChargeView]


@post(
    "/payment-gateway/test/pagbank/pix",
    guards=GUARDS,
    status_code=200,
    dependencies=DESK,
    exception_handlers=seed_errors("error"),
)
async def post_pix_trial(
    data: JSONBody[PixTrialIn],
    request: StrictRequest,
    desk: NamedDependency[Desk],
) -> Answer[PixTrialView]:
    """Makes an order with a PIX code in the sandbox."""
    payment = await _order(desk, data, request)
    return answer(
        PixTrialView(
            success=True,
            order_id=payment.external_id,
            charge_id=payment.external_id,
            status=payment.status.value.upper(),
            amount=payment.amount_cents,
            qr_code=await pix_of(desk, Provider.PAGBANK, str(payment.id)) if payment.pix_copy_paste else None,
            order=raw_charge(payment, await customer_of(desk, payment)),
        )
    )


@post(
    "/payment-gateway/test/pagbank/full",
    guards=GUARDS,
    status_code=200,
    dependencies=DESK,
    exception_handlers=seed_errors("error"),
)
async def post_full_trial(
    request: StrictRequest,
    desk: NamedDependency[Desk],
) -> Answer[TrialReport]:
    """Tries the sandbox account out: its token, and an order with a PIX code."""
    async with transaction(desk.db, desk.tenant_id) as conn:
        await choose_account(conn, desk.tenant_id, Provider.PAGBANK, _SANDBOX)
    results: list[TrialStep] = []
    for name, step in (("Accept Token", _token), ("Create PIX Order", _pix)):
        try:
            results.append(TrialStep(test=name, status="PASSED", data=await step(desk, request)))
        except ServiceError as error:
            results.append(TrialStep(test=name, status="FAILED", error=error.detail))
    passed = sum(1 for result in results if result.status == "PASSED")
    return answer(
        TrialReport(
            summary=TrialSummary(
                total=len(results),
                passed=passed,
                failed=len(results) - passed,
                success_rate=f"{passed * 100 // len(results)}.0%",
            ),
            results=results,
            timestamp=desk.clock(),
        )
    )


@get("/payment-gateway/test/pagbank/orders", guards=GUARDS, dependencies=DESK, exception_handlers=seed_errors("error"))
async def list_trial_orders(
    desk: NamedDependency[Desk],
) -> Answer[OrderList]:
    """The orders of the sandbox account that were made here: PagBank itself lists none."""
    async with transaction(desk.db, desk.tenant_id) as conn:
        account = await choose_account(conn, desk.tenant_id, Provider.PAGBANK, _SANDBOX)
        rows = await store.charges.list_charges(
            conn, desk.tenant_id, provider=Provider.PAGBANK.value, account_id=account.id, limit=100, offset=0
        )
        ids = [row.id for row in rows]
        names = await store.charges.list_customers(conn, desk.tenant_id, Provider.PAGBANK.value, ids)
    return answer(OrderList(orders=[charge_view(row, names.get(row.id)) for row in rows]))


async def _token(desk: Desk, _: StrictRequest) -> Raw:
    trial = await try_provider_account(desk.db, desk.accounts, desk.tenant_id, Provider.PAGBANK, _SANDBOX)
    return {"environment": trial.environment.value}


async def _pix(desk: Desk, request: StrictRequest) -> Raw:
    payment = await _order(desk, PixTrialIn(), request)
    return {"orderId": payment.external_id}


async def _order(desk: Desk, data: PixTrialIn, request: StrictRequest) -> Payment:
    now = desk.clock()
    async with transaction(desk.db, desk.tenant_id) as conn:
        account = await choose_account(conn, desk.tenant_id, Provider.PAGBANK, _SANDBOX)
        person = NewCustomer(
            name="Cliente Teste PIX", email="pix-test@example.com", tax_id="12345678909", lead_id=_LEAD
        )
        customer = await plan_customer(conn, desk.tenant_id, account, person, box=desk.box, now=now)
    fields = ChargeFields(
        billing_type="PIX",
        value=reais_of(data.amount),
        due_date=day_in_brazil(now) + timedelta(days=1),
        description=data.description,
    )
    payment, _ = await make_charge(
        desk, fields, Provider.PAGBANK, str(customer.customer_id), request, environment=_SANDBOX
    )
    return payment


ROUTES: list[Any] = [post_pix_trial, post_full_trial, list_trial_orders]
