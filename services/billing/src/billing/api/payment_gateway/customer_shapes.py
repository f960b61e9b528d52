"""Customers in seed 002's words, and what its front ends send to make them."""

from datetime import datetime
from typing import Annotated, Final

import msgspec

from billing.domain.charging import NewCustomer
from billing.domain.customers import Customer
from billing.domain.providers import Provider

Text = Annotated[str, msgspec.Meta(max_length=255)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Mailbox = Annotated[str, msgspec.Meta(max_length=320, pattern=r"^([^@\s]+@[^@\s]+)?$")]
Reference = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
LeadId = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]

#: What Asaas takes of a customer beside what we keep ourselves.
_FIELDS: Final = (
    "name",
    "email",
    "cpf_cnpj",
    "phone",
    "mobile_phone",
    "address",
    "address_number",
    "complement",
    "province",
    "postal_code",
    "observations",
)
_SENT: Final = (
    "address",
    "address_number",
    "complement",
    "province",
    "postal_code",
    "city",
    "state",
    "external_reference",
    "observations",
)


class CustomerFields(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A customer to make known, of a lead of the CRM's where `leadId` is given."""

    lead_id: LeadId | None = None
    name: Name
    email: Mailbox | None = None
    cpf_cnpj: Annotated[str, msgspec.Meta(max_length=32)] | None = None
    phone: Annotated[str, msgspec.Meta(max_length=32)] | None = None
    mobile_phone: Annotated[str, msgspec.Meta(max_length=32)] | None = None
    address: Text | None = None
    address_number: Text | None = None
    complement: Text | None = None
    province: Text | None = None
    postal_code: Text | None = None
    city: Text | None = None
    state: Text | None = None
    external_reference: Reference | None = None
    observations: Annotated[str, msgspec.Meta(max_length=2000)] | None = None

    def wanted(self) -> NewCustomer:
        """It in our words."""
        fields = {name: getattr(self, name) for name in _FIELDS}
        camel = {_camel(name): value for name, value in fields.items() if value}
        if postal_code := camel.get("postalCode"):
            camel["postalCode"] = "".join(char for char in postal_code if char.isdigit())
        return NewCustomer(
            name=self.name,
            email=self.email or None,
            tax_id=self.cpf_cnpj or None,
            phone=self.mobile_phone or self.phone or None,
            lead_id=self.lead_id,
            fields=camel,
        )


class CustomerView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A customer. Of its address we keep nothing: it is shown as it was sent, and null later."""

    id: str
    tenant_id: str
    gateway: Provider
    lead_id: str | None
    name: str | None
    email: str | None
    cpf_cnpj: str | None
    phone: str | None
    mobile_phone: str | None
    address: str | None = None
    address_number: str | None = None
    complement: str | None = None
    province: str | None = None
    postal_code: str | None = None
    city: str | None = None
    state: str | None = None
    gateway_customer_id: str
    external_reference: str | None = None
    observations: str | None = None
    created_at: datetime
    updated_at: datetime
    synced_at: datetime | None = None


def customer_view(
    customer: Customer, provider: Provider, external_id: str | None, *, tax_id: str | None, sent: CustomerFields | None
) -> CustomerView:
    """The customer at that provider; one that keeps no customers calls it by our id."""
    rest = {} if sent is None else {name: getattr(sent, name) for name in _SENT}
    return CustomerView(
        id=str(customer.id),
        tenant_id=str(customer.tenant_id),
        gateway=provider,
        lead_id=customer.lead_id,
        name=customer.name,
        email=customer.email,
        cpf_cnpj=tax_id,
        phone=sent.phone if sent else customer.phone,
        mobile_phone=sent.mobile_phone if sent else customer.phone,
        gateway_customer_id=external_id or str(customer.id),
        created_at=customer.created_at,
        updated_at=customer.updated_at,
        synced_at=customer.updated_at if external_id else None,
        **rest,
    )


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
