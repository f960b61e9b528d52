"""A PIX code's QR image, drawn here: as PNG for a mail, as SVG for a page."""

import io
from typing import Final

import segno

_SCALE: Final = 8  # a code of 150 characters is about 500 pixels wide
_QUIET_ZONE: Final = 4  # modules of white around it, as ISO/IEC 18004 asks


def qr_png(text: str) -> bytes:
    """A PNG of the code. Raises ValueError for a text longer than a QR code holds."""
    out = io.BytesIO()
    _code(text).save(out, kind="png", scale=_SCALE, border=_QUIET_ZONE)
    return out.getvalue()


def qr_svg(text: str) -> str:
    """An SVG element of the code, to stand in an HTML page. Raises ValueError as `qr_png` does."""
    out = io.BytesIO()
    _code(text).save(out, kind="svg", scale=_SCALE, border=_QUIET_ZONE, light="#fff", xmldecl=False, nl=False)
    return out.getvalue().decode()


def _code(text: str) -> segno.QRCode:
    # M is what BACEN's manual asks of a printed code: 15% of it may be dirty.
    return segno.make_qr(text, error="m")
