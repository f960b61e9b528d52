"""What is asked of a provider for a tenant's own customers: the requests, their keys, and whose answer it is."""

from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from billing.domain.providers import Method, Provider

#: The kinds of calls that are written down with what they are for, and brought to an end by whoever finds them open.
CHARGE: Final = "charge"
CANCEL: Final = "cancel_charge"
CUSTOMER: Final = "customer"
PURCHASE_NOTICE: Final = "purchase_notice"

#: Whom purchases are told to, where a payment provider stands in other calls.
N8N: Final = "n8n"


class ChargeOptions(msgspec.Struct, frozen=True):
    """What the operator has set for charges: where providers reach us, and whether seed 002's consumers hear."""

    public_url: str
    nexus_events: bool

    def notification_url(self, provider: Provider) -> str | None:
        """Where a provider is told to send its webhooks, for one that takes that with each request."""
        if provider is not Provider.PAGBANK:
            return None
        return f"{self.public_url.rstrip('/')}/payment-gateway/webhooks/pagbank"


class NewCharge(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant wants of a customer. `reference` is its own word for it."""

    method: Method
    amount_cents: int
    due_on: date
    description: str
    currency: str = "BRL"
    reference: str | None = None
    expires_at: datetime | None = None
    discount: dict[str, object] | None = None
    fine: dict[str, object] | None = None
    interest: dict[str, object] | None = None


class NewCustomer(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's customer; `lead_id` is its CRM's key, `fields` are in the provider's own words (Asaas)."""

    name: str
    email: str | None = None
    tax_id: str | None = None
    phone: str | None = None
    lead_id: str | None = None
    fields: dict[str, Any] = {}


class CustomerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A customer to be made known at Asaas under our id. Its tax id is not among the fields, which are stored so."""

    reference: UUID
    fields: dict[str, Any]


class CustomerMade(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider calls a customer."""

    external_id: str


def charge_key(payment_id: UUID) -> str:
    """The key of the one call that asks for this payment."""
    return f"charge-{payment_id}"


def customer_stem(customer_id: UUID, account_id: UUID) -> str:
    """What the keys of the calls begin with that make this customer known at this account."""
    return f"customer-{customer_id}-{account_id}-"
