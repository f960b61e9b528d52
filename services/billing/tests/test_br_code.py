"""The BR Code against published codes, and against what no bank would take."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.br_code import (
    NO_TXID,
    BrCode,
    BrCodeRefused,
    ascii_folded,
    build_br_code,
    crc16,
    parse_br_code,
)

#: Primepag's documentation; a gist's dynamic sample; BACEN's manual (its example 1.5.4); one that PagBank gave out.
PRIMEPAG = (
    "00020101021126580014br.gov.bcb.pix0136d5091c68-5056-481b-88ad-95eb340a1a21520400005303986540"
    "40.025802BR5925Primepag Solucoes em Paga6009SAO PAULO62220518PRIMEPAGPIXQRCODE263044FC9"
)
DYNAMIC = (
    "00020101021226770014BR.GOV.BCB.PIX2555pix.example.com/qr/93598be0-1bd0-4997-8318-81776a1d8a99"
    "5204000053039865802BR5907EMPRESA6009SAO PAULO62070503***6304EEAB"
)
MANUAL = (
    "00020126580014br.gov.bcb.pix0136123e4567-e12b-12d1-a456-426655440000"
    "5204000053039865802BR5913Fulano de Tal6008BRASILIA62070503***63041D3D"
)
PAGBANK = (
    "00020101021226830014br.gov.bcb.pix2561api.pagseguro.com/pix/v2/20D0C28F-E6CA-4D57-A859-72110A00E9D1"
    "27600016BR.COM.PAGSEGURO013620D0C28F-E6CA-4D57-A859-72110A00E9D1"
    "52048999530398654045.005802BR5922Treepy Programa de Pon6012Elias Fausto62070503***63041E2D"
)
#: bacen/pix-api issue 189: a code that begins wrongly (one 0 short), with the CRC that its text ought to have had.
BROKEN = (
    "0020101021226990014br.gov.bcb.pix2577qrcode.pix.bancobmg.com.br/qrs1/"
    "01mWFiCMHqRMdrkzWFWazsiurgfoqpsJFbuXx3IcpRqfj52040000530398654040.015802BR5917JEFFERSON F SOUZA"
    "6009SAO PAULO62290525QRS1-F5CMMUTDLOVWF8UBT7Q46304"
)


def with_crc(body: str) -> str:
    return f"{body}6304{crc16(f'{body}6304'.encode()):04X}"


def test_the_crc_gives_the_published_values() -> None:
    assert crc16(b"123456789") == 0x29B1
    for code in (PRIMEPAG, DYNAMIC, MANUAL, PAGBANK):
        assert f"{crc16(code[:-4].encode()):04X}" == code[-4:]
    assert f"{crc16(BROKEN.encode()):04X}" == "2E7D"


def test_published_codes_are_read() -> None:
    assert parse_br_code(PRIMEPAG) == BrCode(
        merchant_name="Primepag Solucoes em Paga",
        merchant_city="SAO PAULO",
        key="d5091c68-5056-481b-88ad-95eb340a1a21",
        amount_cents=2,
        txid="PRIMEPAGPIXQRCODE2",
    )
    assert parse_br_code(DYNAMIC) == BrCode(
        merchant_name="EMPRESA",
        merchant_city="SAO PAULO",
        url="pix.example.com/qr/93598be0-1bd0-4997-8318-81776a1d8a99",
        is_one_time=True,
    )
    assert parse_br_code(MANUAL).key == "123e4567-e12b-12d1-a456-426655440000"
    pagbank = parse_br_code(PAGBANK)
    assert (pagbank.amount_cents, pagbank.txid, pagbank.merchant_city) == (500, NO_TXID, "Elias Fausto")


def test_a_published_code_is_built_as_it_is() -> None:
    built = build_br_code(
        merchant_name="Fulano de Tal", merchant_city="BRASILIA", key="123e4567-e12b-12d1-a456-426655440000"
    )
    assert built == MANUAL


names = st.text(min_size=1, max_size=60)
letters = st.text(string.ascii_letters + string.digits, min_size=1, max_size=25)
keys = st.text(string.ascii_letters + string.digits + "@.+-_", min_size=1, max_size=70)


@given(
    name=names,
    city=names,
    key=keys,
    is_url=st.booleans(),
    amount=st.none() | st.integers(1, 10**12 - 1),
    txid=st.just(NO_TXID) | letters,
    one_time=st.booleans(),
)
def test_what_is_built_reads_back(
    name: str, city: str, key: str, is_url: bool, amount: int | None, txid: str, one_time: bool
) -> None:
    folded = ascii_folded(name, 25), ascii_folded(city, 15)

    def build() -> str:
        return build_br_code(
            merchant_name=name,
            merchant_city=city,
            key=None if is_url else key,
            url=key if is_url else None,
            amount_cents=amount,
            txid=txid,
            is_one_time=one_time,
        )

    if not all(folded):
        with pytest.raises(BrCodeRefused):
            build()
        return
    code = build()
    assert code.isascii()
    assert parse_br_code(code) == BrCode(
        merchant_name=folded[0],
        merchant_city=folded[1],
        key=None if is_url else key,
        url=key if is_url else None,
        amount_cents=amount,
        txid=txid,
        is_one_time=one_time,
    )


@given(
    code=st.sampled_from([PRIMEPAG, DYNAMIC, MANUAL, PAGBANK]),
    data=st.data(),
    char=st.characters(min_codepoint=0x20, max_codepoint=0x7E) | st.characters(),
)
def test_one_wrong_character_is_refused(code: str, data: st.DataObject, char: str) -> None:
    at = data.draw(st.integers(0, len(code) - 1))
    if code[at] == char:
        return
    with pytest.raises(BrCodeRefused):
        parse_br_code(code[:at] + char + code[at + 1 :])


@given(st.text(max_size=600))
def test_no_text_breaks_the_reader(text: str) -> None:
    for tried in (text, with_crc(text), with_crc("000201" + text)):
        try:
            parse_br_code(tried)
        except BrCodeRefused:
            continue
        raise AssertionError(tried)


ACCOUNT = "26230014br.gov.bcb.pix0101k"
REST = "52040000530398654041.005802BR5901N6001C62070503***"


@pytest.mark.parametrize(
    "body",
    [
        "000201" + ACCOUNT + REST.replace("986", "840"),  # dollars
        "000201" + ACCOUNT + REST.replace("02BR", "02US"),
        "000202" + ACCOUNT + REST,
        "000201" + "010213" + ACCOUNT + REST,
        "000201" + REST,  # no account
        "000201" + "26180014br.gov.bcb.pix" + REST,  # neither key nor address
        "000201" + "26310014br.gov.bcb.pix0101k2504x.io" + REST,  # both
        "000201" + "26220013br.gov.bcb.pi0101k" + REST,  # another arrangement
        "000201" + ACCOUNT + ACCOUNT + REST,
        "000201" + ACCOUNT + REST.replace("1.00", "1,00"),
        "000201" + ACCOUNT + REST.replace("1.00", "-1.0"),
        "000201" + ACCOUNT + REST.replace("041.00", "051.000"),
        "000201" + ACCOUNT + REST.replace("5901N", "5926" + "N" * 26),
        "000201" + ACCOUNT + REST.replace("6001C", "6016" + "C" * 16),
        "000201" + ACCOUNT + REST.replace("62070503***", "62300526" + "t" * 26),
        "000201" + ACCOUNT + REST + "9",
        "000201" + ACCOUNT + REST + "80",
        "000201" + ACCOUNT + REST + "80AA",
        "000201" + ACCOUNT + REST + "8099x",
        "000201" + ACCOUNT + REST + "8000",
        "",
    ],
)
def test_a_code_with_a_good_crc_and_a_wrong_field_is_refused(body: str) -> None:
    assert parse_br_code(with_crc("000201" + ACCOUNT + REST)).amount_cents == 100
    with pytest.raises(BrCodeRefused):
        parse_br_code(with_crc(body))


def test_names_are_folded_and_cut() -> None:
    code = parse_br_code(
        build_br_code(
            merchant_name="Padaria São João & Irmãos de Paraibuna", merchant_city="São José dos Campos", key="k"
        )
    )
    assert (code.merchant_name, code.merchant_city) == ("Padaria Sao Joao & Irmaos", "Sao Jose dos Ca")
    assert ascii_folded("  Ação\t\u200bçã 漢字  ", 25) == "Acao ca"


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"key": "k", "url": "u"},
        {"key": ""},
        {"key": "ç"},
        {"key": "a b"},
        {"key": "k" * 90},
        {"key": "k", "txid": "a-b"},
        {"key": "k", "txid": "a" * 26},
        {"key": "k", "txid": ""},
        {"key": "k", "amount_cents": 0},
        {"key": "k", "amount_cents": -1},
        {"key": "k", "amount_cents": 10**12},
        {"key": "k", "merchant_name": "漢字"},
    ],
)
def test_what_no_code_can_hold_is_refused(wrong: dict[str, object]) -> None:
    given_: dict[str, object] = {"merchant_name": "N", "merchant_city": "C", **wrong}
    with pytest.raises(BrCodeRefused):
        build_br_code(**given_)  # type: ignore[arg-type]  # the table holds each argument's wrong values


def test_a_message_travels() -> None:
    code = build_br_code(merchant_name="N", merchant_city="C", key="k", info="Pedido nº 1")
    assert parse_br_code(code).info == "Pedido no 1"
