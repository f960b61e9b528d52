"""How the fake PagBank signs a webhook: by its account's token, by a key of its own, by both or not at all."""

import base64
import hashlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Signing:
    """Which headers go out. The sandbox is reported to send none."""

    token: str
    by_token: bool = True
    by_key: bool = True
    key: ec.EllipticCurvePrivateKey = field(default_factory=_new_key)

    def headers(self, raw: bytes) -> dict[str, str]:
        """The headers of a delivery of `raw`."""
        headers = {"Content-Type": "application/json", "User-Agent": "PagBank/fake"}
        if self.by_token:
            headers["x-authenticity-token"] = hashlib.sha256(self.token.encode() + b"-" + raw).hexdigest()
        if self.by_key:
            headers["x-payload-signature"] = base64.b64encode(self.key.sign(raw, ec.ECDSA(SHA256()))).decode()
        return headers

    @property
    def public_key(self) -> str:
        """As /public-keys tells it: Base64 of the key's DER, without PEM's lines."""
        return base64.b64encode(
            self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ).decode()
