"""Which provider a buyer pays by, and which addresses are one person's."""

from itertools import combinations

import pytest

from billing.domain.addresses import read_email
from billing.domain.providers import Provider
from billing.domain.selling import choose_pix_provider, choose_provider
from contracts.errors import Invalid

S, A, P = Provider.STRIPE, Provider.ASAAS, Provider.PAGBANK
EVERY = frozenset({S, A, P})


@pytest.mark.parametrize(
    ("country", "has_tax_id", "line"),
    [
        ("US", False, (S, P)),
        ("US", True, (S, P, A)),
        ("pt", False, (S, P)),
        ("BR", True, (A, P, S)),
        ("br", True, (A, P, S)),
        ("BR", False, (P, S)),
        (None, False, (P, S)),
        (None, True, (P, A, S)),
        ("", True, (P, A, S)),
        (" ", False, (P, S)),
    ],
)
def test_who_is_not_configured_gives_way(country: str | None, has_tax_id: bool, line: tuple[Provider, ...]) -> None:
    for count in range(4):
        for configured in combinations(EVERY, count):
            expected = next((one for one in line if one in configured), None)
            found = choose_provider(configured, country=country, has_tax_id=has_tax_id, currency="BRL")
            assert found is expected, configured


def test_only_stripe_charges_in_another_currency() -> None:
    for country, has_tax_id in ((None, True), ("BR", True), ("US", False)):
        assert choose_provider(EVERY, country=country, has_tax_id=has_tax_id, currency="USD") is S
        assert choose_provider({A, P}, country=country, has_tax_id=has_tax_id, currency="USD") is None


@pytest.mark.parametrize(
    ("configured", "named", "has_tax_id", "found"),
    [
        (EVERY, None, True, A),
        (EVERY, None, False, S),
        ({P, S}, None, True, P),
        ({S}, None, True, S),
        (EVERY, S, True, S),
        (EVERY, P, True, P),
        (EVERY, P, False, None),
        ({S}, A, True, None),
        (frozenset(), None, True, None),
    ],
)
def test_whose_pix_code(
    configured: frozenset[Provider], named: Provider | None, has_tax_id: bool, found: Provider | None
) -> None:
    assert choose_pix_provider(configured, named=named, has_tax_id=has_tax_id) is found


def test_an_address_has_one_spelling() -> None:
    assert read_email(" Ana.Lima@Example.COM ", field="email") == "ana.lima@example.com"
    assert read_email("ana@shop.test", field="email") == "ana@shop.test"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ana",
        "ana@",
        "@example.com",
        "ana@localhost",
        "ana@example.com,eve@example.com",
        "ana@example.com\nBcc: eve@example.com",
        "ana@example.com\r\n",
        "Ana <ana@example.com>",
        '"a b"@example.com',
        "ana@[127.0.0.1]",
        "a" * 250 + "@example.com",
        "ana@exa mple.com",
        "joão@example.com",
        "ana@example.com\x00",
        "\ud800@example.com",
    ],
)
def test_what_is_not_one_address(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        read_email(text, field="userEmail")
    assert refusal.value.errors[0].field == "userEmail"
    assert text not in refusal.value.detail or not text
