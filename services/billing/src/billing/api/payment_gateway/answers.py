"""How the gateway answers: amounts as JSON numbers of reais, exact to the centavo; the second dialect's envelope."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Generic, TypeVar

import msgspec
from litestar import Response

from contracts.errors import FieldError, Invalid

T = TypeVar("T")

_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")
#: No charge is larger: R$ 10 million.
_MAX_REAIS: Final = Decimal(10_000_000)


class Envelope(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """The second dialect's answer: its front reads `data`."""

    data: T
    success: bool = True


class Answer(Response[T]):
    """A JSON answer whose decimals are numbers, as the front ends calculate with them."""

    def render(self, content: Any, media_type: str, enc_hook: Any = None) -> bytes:
        """The bytes of `content`."""
        return _ENCODER.encode(content)


def answer(content: T, headers: Mapping[str, str] | None = None) -> Answer[T]:
    """200 with that content."""
    return Answer(content, headers=dict(headers or {}), media_type="application/json")


def enveloped(content: T, headers: Mapping[str, str] | None = None) -> Answer[Envelope[T]]:
    """The same for the second dialect."""
    return answer(Envelope(data=content), headers)


def cents_of(value: Decimal, field: str = "$.value") -> int:
    """Reais as centavos. Raises Invalid for zero, less, more than anybody charges, or a fraction of a centavo."""
    reason = None
    if not value.is_finite() or value <= 0:
        reason = "must be more than zero"
    elif value > _MAX_REAIS:
        reason = "is more than can be charged at once"
    elif (scaled := value.scaleb(2)) != scaled.to_integral_value():
        reason = "has more than two decimals"
    if reason is not None:
        raise Invalid("The amount is refused.", errors=(FieldError(field, reason),))
    return int(value.scaleb(2))


def reais_of(amount_cents: int) -> Decimal:
    """Centavos as reais."""
    return Decimal(amount_cents).scaleb(-2)
