"""New rows, filled from what they come of: an order, its first invoice, a period's, a payment that is reported."""

from datetime import date, datetime
from uuid import UUID

import msgspec

from billing.domain.buyers import Buyer
from billing.domain.customers import PLATFORM_ACCOUNT, Customer, SoldBy
from billing.domain.identifiers import new_id
from billing.domain.invoices import Invoice, InvoiceStatus
from billing.domain.orders import Order, OrderStatus
from billing.domain.payments import Payment
from billing.domain.plans import Plan, PlanPrice
from billing.domain.providers import Method, PaymentStatus, Provider
from billing.domain.subscriptions import Subscription, SubscriptionStatus


def platform_order(
    buyer: Buyer,
    plan: Plan,
    price: PlanPrice,
    customer: Customer,
    *,
    provider: Provider,
    has_trial: bool,
    source: str,
    now: datetime,
) -> Order:
    """What the buyer set out to buy of the platform, pending; `source` is the route or event that it came by."""
    return Order(
        id=new_id(now),
        tenant_id=buyer.tenant_id,
        sold_by=SoldBy.PLATFORM,
        customer_id=customer.id,
        plan_id=plan.id,
        plan_slug=plan.slug,
        plan_name=plan.name,
        price_id=price.id,
        interval=price.interval,
        amount_cents=price.amount_cents,
        currency=price.currency,
        trial_days=plan.trial_days if has_trial else 0,
        limits=plan.limits,
        status=OrderStatus.PENDING,
        provider=provider,
        account_id=PLATFORM_ACCOUNT,
        external_id=None,
        checkout_url=None,
        source=source,
        buyer_email=buyer.email or customer.email,
        buyer_name=buyer.name or (customer.name if buyer.is_signed_in else None),
        is_new_tenant=buyer.is_new_tenant,
        claim_id=None,
        failure_reason=None,
        version=1,
        placed_at=now,
        paid_at=None,
        ended_at=None,
        expires_at=None,
        updated_at=now,
    )


def first_invoice(order: Order, *, now: datetime) -> Invoice:
    """What the order owes, before anything runs."""
    draft = _plan_invoice(
        order,
        amount_cents=order.amount_cents,
        currency=order.currency,
        due_at=order.expires_at or now,
        now=now,
    )
    return msgspec.structs.replace(draft, order_id=order.id)


def period_invoice(
    subscription: Subscription,
    *,
    amount_cents: int,
    currency: str,
    start: datetime | None,
    end: datetime | None,
    due_at: datetime,
    external_id: str | None = None,
    url: str | None = None,
    now: datetime,
) -> Invoice:
    """What one period of the subscription owes."""
    draft = _plan_invoice(subscription, amount_cents=amount_cents, currency=currency, due_at=due_at, now=now)
    return msgspec.structs.replace(
        draft,
        subscription_id=subscription.id,
        external_id=external_id,
        url=url,
        period_start=start,
        period_end=end,
    )


def charge_invoice(
    *,
    tenant_id: UUID,
    sold_by: SoldBy,
    customer_id: UUID,
    description: str,
    amount_cents: int,
    currency: str,
    provider: Provider,
    account_id: UUID,
    due_at: datetime,
    now: datetime,
) -> Invoice:
    """What a single charge asks for."""
    return Invoice(
        id=new_id(now),
        tenant_id=tenant_id,
        sold_by=sold_by,
        number=0,
        customer_id=customer_id,
        subscription_id=None,
        order_id=None,
        plan_id=None,
        plan_slug=None,
        interval=None,
        description=description,
        amount_cents=amount_cents,
        refunded_cents=0,
        currency=currency,
        status=InvoiceStatus.PENDING,
        provider=provider,
        account_id=account_id,
        external_id=None,
        url=None,
        period_start=None,
        period_end=None,
        due_at=due_at,
        attempts=0,
        last_failure=None,
        next_attempt_at=None,
        issued_at=now,
        paid_at=None,
        voided_at=None,
        version=1,
        updated_at=now,
    )


def payment_of(
    invoice: Invoice,
    *,
    method: Method = Method.ANY,
    external_id: str | None = None,
    description: str | None = None,
    reference: str | None = None,
    due_on: date | None = None,
    now: datetime,
) -> Payment:
    """A payment of the whole invoice, asked for or reported; nothing is known of its fate yet."""
    return Payment(
        id=new_id(now),
        tenant_id=invoice.tenant_id,
        sold_by=invoice.sold_by,
        invoice_id=invoice.id,
        order_id=invoice.order_id,
        customer_id=invoice.customer_id,
        provider=invoice.provider,
        account_id=invoice.account_id,
        external_id=external_id,
        method=method,
        status=PaymentStatus.PENDING,
        amount_cents=invoice.amount_cents,
        refunded_cents=0,
        currency=invoice.currency,
        description=description or invoice.description,
        reference=reference,
        due_on=due_on,
        paid_at=None,
        failure_reason=None,
        review_reason=None,
        txid=None,
        end_to_end_id=None,
        pix_copy_paste=None,
        pix_expires_at=None,
        url=None,
        raw=None,
        observed_at=None,
        version=1,
        created_at=now,
        updated_at=now,
    )


def subscription_of(order: Order, *, now: datetime) -> Subscription:
    """The right that the order brings, not yet running; whoever makes it says what its provider knows of it."""
    return Subscription(
        id=new_id(now),
        tenant_id=order.tenant_id,
        sold_by=order.sold_by,
        customer_id=order.customer_id,
        order_id=order.id,
        plan_id=order.plan_id,
        plan_slug=order.plan_slug,
        plan_name=order.plan_name,
        price_id=order.price_id,
        interval=order.interval,
        amount_cents=order.amount_cents,
        currency=order.currency,
        limits=order.limits,
        status=SubscriptionStatus.INCOMPLETE,
        provider=order.provider,
        account_id=order.account_id,
        external_id=None,
        item_external_id=None,
        current_period_start=None,
        current_period_end=None,
        trial_end=None,
        cancel_at_period_end=False,
        cancelled_at=None,
        cancel_reason=None,
        next_price_id=None,
        next_plan_id=None,
        trial_notice_at=None,
        past_due_since=None,
        dunning_step=0,
        next_dunning_at=None,
        renews_at=None,
        observed_at=None,
        version=1,
        created_at=now,
        updated_at=now,
    )


def _plan_invoice(
    sold: Order | Subscription, *, amount_cents: int, currency: str, due_at: datetime, now: datetime
) -> Invoice:
    draft = charge_invoice(
        tenant_id=sold.tenant_id,
        sold_by=sold.sold_by,
        customer_id=sold.customer_id,
        description=sold.plan_name,
        amount_cents=amount_cents,
        currency=currency,
        provider=sold.provider,
        account_id=sold.account_id,
        due_at=due_at,
        now=now,
    )
    return msgspec.structs.replace(draft, plan_id=sold.plan_id, plan_slug=sold.plan_slug, interval=sold.interval)
