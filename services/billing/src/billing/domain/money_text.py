"""Amounts as people and older systems read them: minor units as a decimal number, or in the Brazilian spelling."""

from decimal import Decimal
from typing import Final

_SYMBOLS: Final = {"BRL": "R$", "USD": "US$", "EUR": "€"}
#: ISO 4217 currencies without minor units, of those that providers take.
_WHOLE: Final = frozenset({"CLP", "JPY", "KRW", "PYG"})


def decimal_amount(amount_cents: int, currency: str) -> Decimal:
    """`Decimal("1247.00")`: the amount in whole units, exactly."""
    return Decimal(amount_cents).scaleb(-_digits(currency))


def money_text(amount_cents: int, currency: str) -> str:
    """`R$ 1.247,00`: minor units in the Brazilian spelling."""
    digits = _digits(currency)
    units, rest = divmod(abs(amount_cents), 10**digits)
    whole = f"{units:,}".replace(",", ".")
    sign = "-" if amount_cents < 0 else ""
    return f"{_SYMBOLS.get(currency, currency)} {sign}{whole}" + (f",{rest:02d}" if digits else "")


def _digits(currency: str) -> int:
    return 0 if currency in _WHOLE else 2
