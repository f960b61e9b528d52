"""The terms that the platform sells on, and which of several providers a buyer pays by."""

from collections.abc import Collection
from typing import Final

import msgspec

from billing.domain.providers import Interval, Provider, ProviderMisconfigured
from contracts.errors import FieldError, Invalid

_REAL: Final = "BRL"
#: Whoever pays from abroad, whoever shows a Brazilian tax id, and everybody else: who of the providers comes first.
_ABROAD: Final = (Provider.STRIPE, Provider.PAGBANK, Provider.ASAAS)
_WITH_TAX_ID: Final = (Provider.ASAAS, Provider.PAGBANK, Provider.STRIPE)
_OTHERS: Final = (Provider.PAGBANK, Provider.ASAAS, Provider.STRIPE)
#: PIX works at every Brazilian account; at Stripe only at those that it was opened for.
PIX_ORDER: Final = (Provider.ASAAS, Provider.PAGBANK, Provider.STRIPE)


class SellingTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says about selling. `return_hosts` are where a payer may be sent back to."""

    currency: str
    order_expires_h: int
    public_url: str
    success_url: str
    cancel_url: str
    return_hosts: frozenset[str]
    contact_email: str | None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to buy: a plan by slug or id with an interval, or one price, by our id or the provider's."""

    plan: str | None = None
    price: str | None = None
    interval: Interval = Interval.MONTH
    currency: str


def choose_provider(
    configured: Collection[Provider], *, country: str | None, has_tax_id: bool, currency: str
) -> Provider | None:
    """Who the buyer pays by; seed 002's rule, with the next in line for one that is not configured. None for nobody.

    A country other than BR: Stripe, PagBank, Asaas. BR with a tax id: Asaas, PagBank, Stripe. Everybody else: PagBank,
    Asaas, Stripe. Asaas charges nobody without a Brazilian tax id, and it and PagBank charge in BRL only.
    """
    line = _line_of((country or "").strip().upper(), has_tax_id)
    able = (one for one in line if _can_charge(one, has_tax_id=has_tax_id, currency=currency))
    return next((one for one in able if one in configured), None)


def choose_pix_provider(
    configured: Collection[Provider], *, named: Provider | None, has_tax_id: bool
) -> Provider | None:
    """Whose PIX code it is: the one that was named, if it is configured, else Asaas, PagBank, Stripe in this order.

    Asaas and PagBank make no code for a payer without a tax id.
    """
    line = PIX_ORDER if named is None else (named,)
    return next((one for one in line if one in configured and (has_tax_id or one is Provider.STRIPE)), None)


def need_pix_provider(configured: Collection[Provider], named: Provider | None, *, has_tax_id: bool) -> Provider:
    """Whose PIX code it is. Raises Invalid for want of a tax id, ProviderMisconfigured for want of a provider."""
    found = choose_pix_provider(configured, named=named, has_tax_id=has_tax_id)
    if found is not None:
        return found
    if choose_pix_provider(configured, named=named, has_tax_id=True) is not None:
        raise Invalid(
            "This provider makes no PIX code without the payer's CPF or CNPJ.",
            code="tax_id_needed",
            errors=(FieldError("$.payer.tax_id", "is missing"),),
        )
    raise ProviderMisconfigured(
        f"{named.value} is not configured." if named else "No provider of PIX is configured.",
        code="provider_not_configured",
    )


def _line_of(country: str, has_tax_id: bool) -> tuple[Provider, ...]:
    if country not in ("", "BR"):
        return _ABROAD
    return _WITH_TAX_ID if country and has_tax_id else _OTHERS


def _can_charge(provider: Provider, *, has_tax_id: bool, currency: str) -> bool:
    if provider is Provider.STRIPE:
        return True
    return currency == _REAL and (has_tax_id or provider is not Provider.ASAAS)
