"""Secrets at rest: AES-256-GCM, bound to the row they stand in, with a key that can be rotated."""

import hashlib
import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from chassis.settings import Secret

_VERSION = 1
_KEY_ID_BYTES = 8
_NONCE_BYTES = 12
_HEAD_BYTES = 1 + _KEY_ID_BYTES + _NONCE_BYTES


class SecretUnreadable(Exception):
    """The stored bytes were not sealed for this row with a key that we have. Says nothing about their content."""


class SecretBox:
    """Seals with SECRETS_KEY; opens what that key or SECRETS_KEY_PREVIOUS sealed.

    A sealed value is version (1 byte) | key id (8) | nonce (12) | ciphertext and tag. The additional data is
    `tenant|table|id`, so a value copied into another row, table or tenant does not open.
    """

    def __init__(self, key: Secret, previous: Secret | None = None) -> None:
        self._key_id, cipher = _derive(key)
        self._ciphers = {self._key_id: cipher}
        if previous is not None:
            previous_id, previous_cipher = _derive(previous)
            self._ciphers.setdefault(previous_id, previous_cipher)

    def seal(self, plaintext: str, tenant_id: UUID, table: str, row_id: UUID | str) -> bytes:
        """`plaintext` as bytes for that row only."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._key_id].encrypt(nonce, plaintext.encode(), _bound_to(tenant_id, table, row_id))
        return bytes([_VERSION]) + self._key_id + nonce + sealed

    def open(self, sealed: bytes, tenant_id: UUID, table: str, row_id: UUID | str) -> str:
        """What was sealed for that row. Raises SecretUnreadable when it was not, or was changed."""
        key_id, nonce = sealed[1 : 1 + _KEY_ID_BYTES], sealed[1 + _KEY_ID_BYTES : _HEAD_BYTES]
        cipher = self._ciphers.get(key_id)
        if cipher is None or sealed[0] != _VERSION or len(sealed) < _HEAD_BYTES + 16:
            raise SecretUnreadable(f"a secret of {table} was sealed with an unknown key")
        try:
            return cipher.decrypt(nonce, sealed[_HEAD_BYTES:], _bound_to(tenant_id, table, row_id)).decode()
        except InvalidTag:
            raise SecretUnreadable(f"a secret of {table} does not belong to its row") from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether it was sealed with the present key; what was not is to be opened and sealed again."""
        return sealed[1 : 1 + _KEY_ID_BYTES] == self._key_id


def _derive(secret: Secret) -> tuple[bytes, AESGCM]:
    # HKDF, because SECRETS_KEY is text of any length from 32 bytes on, and AES wants exactly 32.
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"backoffice secrets v1").derive(secret.reveal().encode())
    return hashlib.sha256(b"key id" + key).digest()[:_KEY_ID_BYTES], AESGCM(key)


def _bound_to(tenant_id: UUID, table: str, row_id: UUID | str) -> bytes:
    return f"{tenant_id}|{table}|{row_id}".encode()
