"""Payment pages and the portal, from three seeds' routes: /stripe/* (000), /billing/* (004), /payments/intent (002)."""

from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from billing.accounts import Accounts
from billing.api.seed_errors import seed_errors
from billing.api.selling import one_of, refuse_unconfigured, sell_page, signed_in
from billing.domain.addresses import read_email, read_name
from billing.domain.orders import Order
from billing.domain.providers import Interval, Provider
from billing.domain.return_urls import asking_for_session, check_return_url
from billing.domain.selling import SellingTerms, Wanted, choose_provider
from billing.domain.tax_ids import read_tax_id
from billing.usecases.choose_plan import choose_plan
from billing.usecases.find_buyer import find_buyer
from billing.usecases.open_portal import open_portal
from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Database, transaction
from chassis.identity import Identity, tenant_of
from chassis.secrets import SecretBox
from contracts.errors import FieldError, Invalid, Malformed, Unavailable
from contracts.tenancy import PLATFORM_TENANT_ID

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Url = Annotated[str, msgspec.Meta(max_length=4096)]
Email = Annotated[str, msgspec.Meta(max_length=1024)]
Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$")]


class CheckoutData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to buy: `plan` (or `plan_id`, `planId`) by slug or id with an `interval`, or `price_id` (`priceId`).

    `success_url` may hold `{CHECKOUT_SESSION_ID}`. URLs are of the hosts that the platform sends payers back to.
    """

    plan: Name | None = None
    plan_id: Name | None = None
    plan_id_camel: Name | None = msgspec.field(default=None, name="planId")
    price_id: Name | None = None
    price_id_camel: Name | None = msgspec.field(default=None, name="priceId")
    interval: Interval = Interval.MONTH
    currency: Currency | None = None
    success_url: Url | None = None
    success_url_camel: Url | None = msgspec.field(default=None, name="successUrl")
    cancel_url: Url | None = None
    cancel_url_camel: Url | None = msgspec.field(default=None, name="cancelUrl")
    customer_email: Email | None = None
    customer_email_camel: Email | None = msgspec.field(default=None, name="customerEmail")
    email: Email | None = None


class CheckoutPage(msgspec.Struct, frozen=True, kw_only=True):
    """Where to send the buyer. The session is Stripe's; `GET /orders/{id}` tells what becomes of the order."""

    url: str
    session_id: str
    session_id_camel: str = msgspec.field(name="sessionId")
    order_id: UUID
    order_id_camel: UUID = msgspec.field(name="orderId")


class BillingCheckoutData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Seed 004's request: `priceId` is our price's id, or the one it was pushed to Stripe under."""

    price_id: Name
    success_url: Url
    cancel_url: Url
    customer_email: Email | None = None


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A page to open."""

    url: str


class PortalData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stripe's id of one of the caller's customers, the latest by default; and where its page leads back to."""

    customer_id: Name | None = None
    customer_id_camel: Name | None = msgspec.field(default=None, name="customerId")
    return_url: Url | None = None
    return_url_camel: Url | None = msgspec.field(default=None, name="returnUrl")


class BillingPortalData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Seed 004's request."""

    customer_id: Name
    return_url: Url


class IntentData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Seed 002's request; `planId` and `userEmail` are needed."""

    plan_id: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    user_email: Email | None = None
    country_code: Annotated[str, msgspec.Meta(max_length=8)] | None = None
    cpf_cnpj: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    user_name: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class Intent(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Seed 002's answer: `sessionId` and `url` for stripe, else `checkoutUrl`, with `subscriptionId` for asaas and
    `checkoutCode` for pagseguro.
    """

    provider: str
    order_id: UUID
    session_id: str | None = None
    url: str | None = None
    subscription_id: str | None = None
    checkout_code: str | None = None
    checkout_url: str | None = None


@post("/stripe/checkout", guards=[signed_in])
async def post_stripe_checkout(
    data: JSONBody[CheckoutData],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    accounts: NamedDependency[Accounts],
    box: NamedDependency[SecretBox],
    terms: NamedDependency[SellingTerms],
    clock: NamedDependency[Clock],
) -> Response[CheckoutPage]:
    """A Stripe page on which the caller's tenant pays for a plan. An Idempotency-Key opens one page."""
    refuse_unconfigured(accounts, Provider.STRIPE)
    wanted = Wanted(
        plan=one_of("plan", data.plan, data.plan_id, data.plan_id_camel),
        price=one_of("price_id", data.price_id, data.price_id_camel),
        interval=data.interval,
        currency=data.currency or terms.currency,
    )
    success_url = one_of("success_url", data.success_url, data.success_url_camel)
    cancel_url = one_of("cancel_url", data.cancel_url, data.cancel_url_camel)
    email = one_of("customer_email", data.customer_email, data.customer_email_camel, data.email)
    order, headers = await sell_page(
        request,
        data,
        await find_buyer(db, identity, email=_email(email, "$.customer_email"), name=None, tax_id=None, now=clock()),
        wanted,
        Provider.STRIPE,
        source="stripe_checkout",
        success_url=_known(success_url, "$.success_url", terms) or asking_for_session(terms.success_url),
        cancel_url=_known(cancel_url, "$.cancel_url", terms) or terms.cancel_url,
        db=db,
        accounts=accounts,
        box=box,
        terms=terms,
        clock=clock,
    )
    page = CheckoutPage(
        url=order.checkout_url or "",
        session_id=order.external_id or "",
        session_id_camel=order.external_id or "",
        order_id=order.id,
        order_id_camel=order.id,
    )
    return Response(page, status_code=201, headers=headers)


@post("/billing/checkout", guards=[signed_in], status_code=200, exception_handlers=seed_errors("message"))
async def post_billing_checkout(
    data: JSONBody[BillingCheckoutData],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    accounts: NamedDependency[Accounts],
    box: NamedDependency[SecretBox],
    terms: NamedDependency[SellingTerms],
    clock: NamedDependency[Clock],
) -> Response[Link]:
    """The same in seed 004's words. An Idempotency-Key opens one page."""
    refuse_unconfigured(accounts, Provider.STRIPE)
    email = _email(data.customer_email, "$.customerEmail")
    order, headers = await sell_page(
        request,
        data,
        await find_buyer(db, identity, email=email, name=None, tax_id=None, now=clock()),
        Wanted(price=data.price_id, currency=terms.currency),
        Provider.STRIPE,
        source="billing_checkout",
        success_url=check_return_url(data.success_url, terms.return_hosts, field="$.successUrl"),
        cancel_url=check_return_url(data.cancel_url, terms.return_hosts, field="$.cancelUrl"),
        db=db,
        accounts=accounts,
        box=box,
        terms=terms,
        clock=clock,
    )
    return Response(Link(url=order.checkout_url or ""), status_code=200, headers=headers)


@post("/payments/intent", status_code=200, exception_handlers=seed_errors("error"))
async def post_payment_intent(
    data: JSONBody[IntentData],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    accounts: NamedDependency[Accounts],
    box: NamedDependency[SecretBox],
    terms: NamedDependency[SellingTerms],
    clock: NamedDependency[Clock],
) -> Response[Intent]:
    """A page on which anybody pays for a plan, signed in or not; seed 002's checkout site asks for it.

    A country other than BR pays by Stripe, BR with a tax id by Asaas, everybody else by PagBank; a provider that is not
    configured gives way to the next (PagBank, then Asaas for who has a tax id, then Stripe). The answer does not tell
    whether the address is known. An Idempotency-Key opens one page.
    """
    if not data.plan_id or not data.user_email:
        raise Malformed("Missing required fields", code="missing_fields")
    email = _email(data.user_email, "$.userEmail")
    name = read_name(data.user_name, field="$.userName")
    tax_id = _tax_id(data.cpf_cnpj)
    wanted = Wanted(plan=data.plan_id, currency=terms.currency)
    try:
        async with transaction(db, PLATFORM_TENANT_ID) as conn:
            await choose_plan(conn, data.plan_id, interval=wanted.interval, currency=wanted.currency)
    except Invalid as refusal:  # seed 002 answers 400; without a plan no address is looked at
        raise Malformed(refusal.detail, code=refusal.code, errors=refusal.errors) from None
    provider = choose_provider(
        accounts.platform.configured,
        country=data.country_code,
        has_tax_id=tax_id is not None,
        currency=wanted.currency,
    )
    if provider is None:
        raise Unavailable("No payment provider is configured.", code="provider_not_configured", retry_after_s=60)
    order, headers = await sell_page(
        request,
        data,
        await find_buyer(db, identity, email=email, name=name, tax_id=tax_id, now=clock()),
        wanted,
        provider,
        source="payments_intent",
        success_url=asking_for_session(terms.success_url),
        cancel_url=terms.cancel_url,
        db=db,
        accounts=accounts,
        box=box,
        terms=terms,
        clock=clock,
    )
    return Response(_intent(order), status_code=200, headers=headers)


@post("/stripe/portal", guards=[signed_in])
async def post_stripe_portal(
    data: JSONBody[PortalData],
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    accounts: NamedDependency[Accounts],
    terms: NamedDependency[SellingTerms],
    clock: NamedDependency[Clock],
) -> Link:
    """Stripe's page on which the caller's tenant manages its cards and subscriptions; valid for minutes."""
    refuse_unconfigured(accounts, Provider.STRIPE)
    return_url = one_of("return_url", data.return_url, data.return_url_camel)
    url = await open_portal(
        db,
        accounts,
        tenant_of(identity),
        customer_external_id=one_of("customer_id", data.customer_id, data.customer_id_camel),
        return_url=_known(return_url, "$.return_url", terms) or terms.public_url,
        clock=clock,
    )
    return Link(url=url)


@post("/billing/portal", guards=[signed_in], status_code=200, exception_handlers=seed_errors("message"))
async def post_billing_portal(
    data: JSONBody[BillingPortalData],
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    accounts: NamedDependency[Accounts],
    terms: NamedDependency[SellingTerms],
    clock: NamedDependency[Clock],
) -> Link:
    """The same in seed 004's words; another tenant's customer is not found."""
    refuse_unconfigured(accounts, Provider.STRIPE)
    url = await open_portal(
        db,
        accounts,
        tenant_of(identity),
        customer_external_id=data.customer_id,
        return_url=check_return_url(data.return_url, terms.return_hosts, field="$.returnUrl"),
        clock=clock,
    )
    return Link(url=url)


def _email(text: str | None, field: str) -> str | None:
    return read_email(text, field=field) if text else None


def _tax_id(text: str | None) -> str | None:
    if not text:
        return None
    tax_id = read_tax_id(text)
    if tax_id is None:
        raise Invalid(
            "cpfCnpj is neither a CPF nor a CNPJ.",
            code="invalid_tax_id",
            errors=[FieldError("$.cpfCnpj", "is neither a CPF nor a CNPJ")],
        )
    return tax_id


def _known(url: str | None, field: str, terms: SellingTerms) -> str | None:
    return None if url is None else check_return_url(url, terms.return_hosts, field=field)


def _intent(order: Order) -> Intent:
    match order.provider:
        case Provider.STRIPE:
            return Intent(provider="stripe", order_id=order.id, session_id=order.external_id, url=order.checkout_url)
        case Provider.ASAAS:
            return Intent(
                provider="asaas",
                order_id=order.id,
                subscription_id=order.external_id,
                checkout_url=order.checkout_url,
            )
        case Provider.PAGBANK:
            return Intent(
                provider="pagseguro",
                order_id=order.id,
                checkout_code=order.external_id,
                checkout_url=order.checkout_url,
            )


ROUTES: Final = [
    post_stripe_checkout,
    post_billing_checkout,
    post_payment_intent,
    post_stripe_portal,
    post_billing_portal,
]
