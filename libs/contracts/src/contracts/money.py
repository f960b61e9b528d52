"""Money: integer minor units and an ISO 4217 currency, never a float."""

import re
from collections.abc import Sequence

import msgspec

CURRENCY = re.compile(r"[A-Z]{3}")


class Money(msgspec.Struct, frozen=True, order=False):
    """`amount_cents` minor units of `currency` (three capital letters)."""

    amount_cents: int
    currency: str

    def __post_init__(self) -> None:
        # bool is an int to Python; a flag is never an amount.
        if type(self.amount_cents) is not int:
            raise TypeError("amount_cents must be an int: money is never a float")
        if not (
            len(self.currency) == 3 and self.currency.isascii() and self.currency.isalpha() and self.currency.isupper()
        ):
            raise ValueError("currency must be three capital letters of ISO 4217")

    def add(self, other: "Money") -> "Money":
        """The sum. Raises ValueError when the currencies differ."""
        if other.currency != self.currency:
            raise ValueError(f"cannot add {other.currency} to {self.currency}")
        return Money(self.amount_cents + other.amount_cents, self.currency)

    def allocate(self, weights: Sequence[int]) -> tuple["Money", ...]:
        """Shares in proportion to `weights` that sum to exactly this amount.

        The cents left over by rounding go to the first shares with a weight, one each. Raises ValueError for no,
        negative or all-zero weights.
        """
        total = sum(weights)
        if total <= 0 or any(weight < 0 for weight in weights):
            raise ValueError("weights must be non-negative and sum to more than zero")
        sign = -1 if self.amount_cents < 0 else 1
        amount = abs(self.amount_cents)
        shares = [amount * weight // total for weight in weights]
        left = amount - sum(shares)
        for index, weight in enumerate(weights):
            if left == 0:
                break
            if weight:
                shares[index] += 1
                left -= 1
        return tuple(Money(sign * share, self.currency) for share in shares)
