"""CPF and CNPJ, the tax ids of people and companies in Brazil: read from how they are typed, checked by their digits.

From July 2026 a CNPJ's first twelve places may be letters too (IN RFB 2.229/2024); its check digits stay digits, and
are made from each character's ASCII code less 48, so that the old ones stay as they are.
"""

import re
from typing import Final

_SEPARATORS: Final = re.compile(r"[\s./-]")
_CPF: Final = re.compile(r"[0-9]{11}")
_CNPJ: Final = re.compile(r"[0-9A-Z]{12}[0-9]{2}")
_CPF_WEIGHTS: Final = tuple(range(11, 1, -1))
_CNPJ_WEIGHTS: Final = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)


def read_tax_id(text: str) -> str | None:
    """The CPF (11 digits) or CNPJ (14 characters) in `text` without its punctuation, letters in capitals.

    None when it is neither, or its check digits are wrong.
    """
    if len(text) > 32 or not text.isascii():
        return None
    bare = _SEPARATORS.sub("", text).upper()
    return bare if is_cpf(bare) or is_cnpj(bare) else None


def is_cpf(bare: str) -> bool:
    """Whether it is a CPF in digits only. One digit eleven times passes the sum and was never given out."""
    if not _CPF.fullmatch(bare) or len(set(bare)) == 1:
        return False
    return bare == _checked(bare[:9], _CPF_WEIGHTS)


def is_cnpj(bare: str) -> bool:
    """Whether it is a CNPJ without punctuation, of digits or of the alphanumeric kind."""
    if not _CNPJ.fullmatch(bare) or len(set(bare)) == 1:
        return False
    return bare == _checked(bare[:12], _CNPJ_WEIGHTS)


def _checked(stem: str, weights: tuple[int, ...]) -> str:
    """`stem` with its two check digits: each 11 less the weighted sum modulo 11, and 0 where that would be 10 or 11."""
    for _ in range(2):
        fitting = weights[len(weights) - len(stem) :]
        rest = sum((ord(char) - 48) * weight for char, weight in zip(stem, fitting, strict=True)) % 11
        stem += "0" if rest < 2 else str(11 - rest)
    return stem
