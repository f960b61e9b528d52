"""The QR image: a PNG and an SVG of the right size for the same code, and no image of what does not fit."""

import re
import struct

import pytest

from billing.domain.br_code import build_br_code
from billing.qr_image import qr_png, qr_svg

CODE = build_br_code(
    merchant_name="N",
    merchant_city="C",
    url="pix.example.com/qr/93598be0-1bd0-4997-8318-81776a1d8a99",
    amount_cents=24700,
)


def test_a_png_is_a_square_of_whole_modules() -> None:
    png = qr_png(CODE)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", png[16:24])
    modules = width // 8 - 8  # the quiet zone is four on either side
    assert width == height == (modules + 8) * 8
    assert (modules - 17) % 4 == 0  # a QR code of version v has 17 + 4v


def test_an_svg_is_the_same_square_and_stands_in_a_page() -> None:
    svg = qr_svg(CODE)
    assert svg.startswith("<svg ")
    assert svg.endswith("</svg>")
    assert "<?xml" not in svg
    sizes = re.findall(r'(?:width|height)="(\d+)"', svg)
    assert sizes[:2] == [str(struct.unpack(">I", qr_png(CODE)[16:20])[0])] * 2


def test_two_codes_are_two_images() -> None:
    other = build_br_code(merchant_name="N", merchant_city="C", url="pix.example.com/qr/other", amount_cents=24700)
    assert qr_png(CODE) == qr_png(CODE) != qr_png(other)
    assert qr_svg(CODE) != qr_svg(other)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        qr_png("x" * 5000)
    with pytest.raises(ValueError, match="too large"):
        qr_svg("x" * 5000)
