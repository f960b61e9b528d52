"""The BR Code: what a PIX QR code holds and a payer pastes. Builds one, and reads one no laxer than a bank would.

The format is EMV's merchant-presented TLV (two digits of id, two of length, the value) under BACEN's manual of the BR
Code; its last field is a CRC over all that stands before it.
"""

import unicodedata
from typing import Final

import msgspec

GUI: Final = "br.gov.bcb.pix"
MAX_TEXT: Final = 512
MAX_NAME: Final = 25
MAX_CITY: Final = 15
MAX_TXID: Final = 25
NO_TXID: Final = "***"

_PIX_ACCOUNTS: Final = tuple(f"{tag:02d}" for tag in range(26, 52))
_CRC_TAG: Final = "6304"
_CRC_LENGTH: Final = 4
_TXID_CHARS: Final = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


class BrCodeRefused(ValueError):
    """Not a BR Code that a bank would take, or not one that can be built; the text says why."""


class BrCode(msgspec.Struct, frozen=True, kw_only=True):
    """What a code says. Exactly one of `key` and `url` is set: a static code names the key, a dynamic one the charge.

    `amount_cents` is None where the payer types the amount or the charge behind `url` says it.
    """

    merchant_name: str
    merchant_city: str
    key: str | None = None
    url: str | None = None
    info: str | None = None
    amount_cents: int | None = None
    txid: str = NO_TXID
    is_one_time: bool = False


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE: polynomial 0x1021, initial value 0xFFFF, nothing reflected. `123456789` gives 0x29B1."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def ascii_folded(text: str, limit: int) -> str:
    """`text` in the printable ASCII that a code may hold: accents dropped, blanks joined, cut at `limit`."""
    bare = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    printable = "".join(char if " " <= char <= "~" else " " for char in bare)
    return " ".join(printable.split())[:limit].rstrip()


def build_br_code(
    *,
    merchant_name: str,
    merchant_city: str,
    key: str | None = None,
    url: str | None = None,
    info: str | None = None,
    amount_cents: int | None = None,
    txid: str = NO_TXID,
    is_one_time: bool = False,
) -> str:
    """The text of a code for a PIX `key`, or for the charge at `url` (without a scheme).

    Names are folded to ASCII and cut to what the format holds. Raises BrCodeRefused for what cannot be put in a code.
    """
    if (key is None) == (url is None):
        raise BrCodeRefused("a code names either a key or an address")
    name, city = ascii_folded(merchant_name, MAX_NAME), ascii_folded(merchant_city, MAX_CITY)
    if not name or not city:
        raise BrCodeRefused("the merchant's name and city need a letter")
    if txid != NO_TXID and not _is_txid(txid):
        raise BrCodeRefused("a txid is 1 to 25 letters and digits")
    account = _field("00", GUI)
    if key is not None:
        account += _field("01", _plain(key, "the key"))
    if info:
        account += _field("02", ascii_folded(info, 72))
    if url is not None:
        account += _field("25", _plain(url, "the address"))
    parts = [_field("00", "01")]
    if is_one_time:
        parts.append(_field("01", "12"))
    parts += [_field("26", account), _field("52", "0000"), _field("53", "986")]
    if amount_cents is not None:
        parts.append(_field("54", _amount_text(amount_cents)))
    parts += [_field("58", "BR"), _field("59", name), _field("60", city), _field("62", _field("05", txid))]
    text = "".join(parts) + _CRC_TAG
    return f"{text}{crc16(text.encode()):04X}"


def parse_br_code(text: str) -> BrCode:
    """What a code says.

    Refused is one with a wrong CRC, a field out of its length or twice, another country or currency, or no PIX account.
    Raises BrCodeRefused.
    """
    if not text.isascii() or len(text) > MAX_TEXT or not text.isprintable():
        raise BrCodeRefused("it is not a line of at most 512 ASCII characters")
    body, crc = text[:-_CRC_LENGTH], text[-_CRC_LENGTH:]
    if not body.endswith(_CRC_TAG):
        raise BrCodeRefused("it does not end in a CRC")
    if f"{crc16(body.encode()):04X}" != crc:
        raise BrCodeRefused("the CRC is wrong")
    fields = _fields(body.removesuffix(_CRC_TAG))
    for tag, wanted in (("00", "01"), ("53", "986"), ("58", "BR")):
        if fields.get(tag) != wanted:
            raise BrCodeRefused(f"field {tag} is not {wanted}")
    if (method := fields.get("01")) not in (None, "11", "12"):
        raise BrCodeRefused("field 01 is neither 11 nor 12")
    name, city = fields.get("59", ""), fields.get("60", "")
    if not 0 < len(name) <= MAX_NAME or not 0 < len(city) <= MAX_CITY:
        raise BrCodeRefused("the merchant's name or city is missing or too long")
    txid = _fields(fields["62"]).get("05", NO_TXID) if "62" in fields else NO_TXID
    if len(txid) > MAX_TXID:
        raise BrCodeRefused("the txid is too long")
    account = _pix_account(fields)
    return BrCode(
        merchant_name=name,
        merchant_city=city,
        key=account.get("01"),
        url=account.get("25"),
        info=account.get("02"),
        amount_cents=_amount_cents(fields["54"]) if "54" in fields else None,
        txid=txid,
        is_one_time=method == "12",
    )


def _is_txid(txid: str) -> bool:
    return 0 < len(txid) <= MAX_TXID and set(txid) <= _TXID_CHARS


def _plain(value: str, what: str) -> str:
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise BrCodeRefused(f"{what} has a character that a code cannot hold")
    return value


def _field(tag: str, value: str) -> str:
    if len(value) > 99:
        raise BrCodeRefused(f"field {tag} is longer than 99 characters")
    return f"{tag}{len(value):02d}{value}"


def _fields(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        tag, length = text[at : at + 2], text[at + 2 : at + 4]
        if len(length) < 2 or not (tag + length).isdigit():
            raise BrCodeRefused("a field has no id or length")
        value = text[at + 4 : at + 4 + int(length)]
        if len(value) != int(length) or not value:
            raise BrCodeRefused(f"field {tag} is not as long as it says")
        if tag in found:
            raise BrCodeRefused(f"field {tag} stands twice")
        found[tag] = value
        at += 4 + int(length)
    return found


def _pix_account(fields: dict[str, str]) -> dict[str, str]:
    # A code may carry other arrangements beside PIX's (PagBank adds its own as field 27).
    accounts = [_fields(fields[tag]) for tag in _PIX_ACCOUNTS if tag in fields]
    for account in accounts:
        if account.get("00", "").lower() == GUI:
            if ("01" in account) == ("25" in account):
                raise BrCodeRefused("the PIX account names neither or both of a key and an address")
            return account
    raise BrCodeRefused("it has no PIX account")


def _amount_text(amount_cents: int) -> str:
    if not 0 < amount_cents < 10**12:
        raise BrCodeRefused("the amount is not one that a code can hold")
    return f"{amount_cents // 100}.{amount_cents % 100:02d}"


def _amount_cents(text: str) -> int:
    whole, point, fraction = text.partition(".")
    if not whole.isdigit() or len(text) > 13 or (point and not fraction.isdigit()) or len(fraction) > 2:
        raise BrCodeRefused("the amount is not a decimal number")
    return int(whole) * 100 + int(fraction.ljust(2, "0"))
