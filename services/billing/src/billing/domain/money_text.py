"""Amounts as people read them, in mails."""

from typing import Final

_SYMBOLS: Final = {"BRL": "R$", "USD": "US$", "EUR": "€"}
#: ISO 4217 currencies without minor units, of those that providers take.
_WHOLE: Final = frozenset({"CLP", "JPY", "KRW", "PYG"})


def money_text(amount_cents: int, currency: str) -> str:
    """`R$ 1.247,00`: minor units in the Brazilian spelling."""
    digits = 0 if currency in _WHOLE else 2
    units, rest = divmod(abs(amount_cents), 10**digits)
    whole = f"{units:,}".replace(",", ".")
    sign = "-" if amount_cents < 0 else ""
    return f"{_SYMBOLS.get(currency, currency)} {sign}{whole}" + (f",{rest:02d}" if digits else "")
