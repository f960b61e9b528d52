"""Takes down what a tenant wants of one of its customers: an invoice, and the payment that is to be asked for."""

from datetime import datetime

from billing.domain.brazil_days import day_in_brazil, end_of_day
from billing.domain.charging import NewCharge
from billing.domain.customers import Customer, SoldBy
from billing.domain.drafts import charge_invoice
from billing.domain.payments import Payment
from billing.domain.provider_accounts import ProviderAccount
from billing.usecases.issue_invoice import issue_invoice
from billing.usecases.open_payer import open_payer
from billing.usecases.plan_charge import plan_charge
from chassis.db import Connection
from chassis.secrets import SecretBox
from contracts.errors import FieldError, Invalid


async def create_charge(
    conn: Connection,
    account: ProviderAccount,
    customer: Customer,
    wanted: NewCharge,
    *,
    box: SecretBox,
    notification_url: str | None,
    now: datetime,
) -> Payment:
    """The pending payment of a new invoice; nobody was asked yet: `request_charge` does that once it has committed.

    Raises Invalid for a day that has passed.
    """
    if wanted.due_on < day_in_brazil(now):
        raise Invalid("The charge is refused.", errors=(FieldError("$.dueDate", "has passed"),))
    draft = charge_invoice(
        tenant_id=account.tenant_id,
        sold_by=SoldBy.TENANT,
        customer_id=customer.id,
        description=wanted.description,
        amount_cents=wanted.amount_cents,
        currency=wanted.currency,
        provider=account.provider,
        account_id=account.id,
        due_at=end_of_day(wanted.due_on),
        now=now,
    )
    invoice = await issue_invoice(conn, draft, now=now)
    payer = await open_payer(conn, customer, box=box, provider=account.provider, account_id=account.id)
    return await plan_charge(conn, invoice, wanted, payer, notification_url=notification_url, now=now)
