"""CPF and CNPJ by their check digits, the alphanumeric CNPJ of 2026 among them."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.tax_ids import _CNPJ_WEIGHTS, _CPF_WEIGHTS, _checked, is_cnpj, is_cpf, read_tax_id


@pytest.mark.parametrize(
    ("typed", "bare"),
    [
        ("529.982.247-25", "52998224725"),
        (" 52998224725 ", "52998224725"),
        ("123.456.789-09", "12345678909"),  # the one in PagBank's examples
        ("11.222.333/0001-81", "11222333000181"),
        ("12.ABC.345/01DE-35", "12ABC34501DE35"),  # the Receita Federal's own example
        ("12abc34501de35", "12ABC34501DE35"),
    ],
)
def test_it_is_read_as_it_is_typed(typed: str, bare: str) -> None:
    assert read_tax_id(typed) == bare


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "529.982.247-26",
        "52998224735",
        "11.222.333/0001-82",
        "12.ABC.345/01DE-36",
        "12.ABC.345/01DF-35",
        "12ABC34501DEAB",  # letters where check digits stand
        "111.111.111-11",
        "00000000000",
        "00000000000000",
        "5299822472",
        "529982247250",
        "٥٢٩٩٨٢٢٤٧٢٥",  # digits, not ASCII's
        "529.982.247-25" + " " * 40,
        "12_ABC34501DE35",
    ],
)
def test_a_wrong_one_is_none(typed: str) -> None:
    assert read_tax_id(typed) is None


@given(st.text("0123456789", min_size=9, max_size=9), st.integers(0, 10), st.integers(1, 9))
def test_a_cpf_with_one_wrong_digit_is_none(stem: str, at: int, by: int) -> None:
    whole = _checked(stem, _CPF_WEIGHTS)
    assert is_cpf(whole) is (len(set(whole)) > 1)
    wrong = whole[:at] + str((int(whole[at]) + by) % 10) + whole[at + 1 :]
    if at >= 9:  # in the stem a change can hide behind the remainders 0 and 1, which give the same digit
        assert not is_cpf(wrong)
    assert not is_cnpj(whole)


@given(st.text(string.digits + string.ascii_uppercase, min_size=12, max_size=12), st.integers(1, 9))
def test_a_cnpj_has_the_check_digits_of_its_characters(stem: str, by: int) -> None:
    whole = _checked(stem, _CNPJ_WEIGHTS)
    assert is_cnpj(whole) is (len(set(whole)) > 1)
    assert not is_cnpj(whole[:13] + str((int(whole[13]) + by) % 10))
    assert not is_cpf(whole)
