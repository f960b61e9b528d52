"""PIX codes as the Brazilian providers' fakes write them, built apart from the product, whose reader they test."""


def br_code(amount_cents: int, location: str) -> str:
    """A dynamic, pay-once code for the charge at `location`, without a txid (`***`), its checksum at the end."""
    account = _field("00", "br.gov.bcb.pix") + _field("25", location)
    body = "".join(
        (
            _field("00", "01"),
            _field("01", "12"),
            _field("26", account),
            _field("52", "0000"),
            _field("53", "986"),
            _field("54", f"{amount_cents // 100}.{amount_cents % 100:02d}"),
            _field("58", "BR"),
            _field("59", "LOJA DE TESTE"),
            _field("60", "SAO PAULO"),
            _field("62", _field("05", "***")),
            "6304",
        )
    )
    return f"{body}{_checksum(body):04X}"


def _field(tag: str, value: str) -> str:
    return f"{tag}{len(value):02d}{value}"


def _checksum(text: str) -> int:
    """CRC-16/CCITT-FALSE."""
    crc = 0xFFFF
    for char in text.encode():
        crc ^= char << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return crc
