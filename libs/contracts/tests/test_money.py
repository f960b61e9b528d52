"""Money never loses or invents a cent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.money import Money


@given(amount=st.integers(-(10**15), 10**15), weights=st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_allocate_sums_to_the_amount_in_fair_shares(amount: int, weights: list[int]) -> None:
    total = sum(weights)
    if total == 0:
        with pytest.raises(ValueError, match="weights"):
            Money(amount, "BRL").allocate(weights)
        return
    shares = Money(amount, "BRL").allocate(weights)
    assert sum(share.amount_cents for share in shares) == amount
    for share, weight in zip(shares, weights, strict=True):
        # |share - amount * weight / total| <= 1, in integers
        assert abs(share.amount_cents * total - amount * weight) <= total
        assert weight or share.amount_cents == 0


def test_allocate_gives_the_odd_cents_to_the_first() -> None:
    assert [share.amount_cents for share in Money(100, "BRL").allocate([1, 1, 1])] == [34, 33, 33]
    assert [share.amount_cents for share in Money(-100, "BRL").allocate([1, 1, 1])] == [-34, -33, -33]


def test_add_refuses_to_mix_currencies() -> None:
    assert Money(1, "BRL").add(Money(2, "BRL")) == Money(3, "BRL")
    with pytest.raises(ValueError, match="USD"):
        Money(1, "BRL").add(Money(2, "USD"))


@pytest.mark.parametrize("amount", [1.0, 0.1, True, "1", None])
def test_only_an_int_is_an_amount(amount: object) -> None:
    with pytest.raises(TypeError):
        Money(amount, "BRL")  # type: ignore[arg-type]  # what a caller without a type checker would do


@pytest.mark.parametrize("currency", ["", "brl", "BR", "BRLL", "R$ ", "ＢＲＬ"])
def test_currency_is_three_capitals(currency: str) -> None:
    with pytest.raises(ValueError, match="currency"):
        Money(1, currency)


@pytest.mark.parametrize("weights", [[], [0], [1, -1], [2, -1]])
def test_allocate_refuses_bad_weights(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        Money(1, "BRL").allocate(weights)
