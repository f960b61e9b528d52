"""The keys that PagBank signs webhooks with: fetched, kept for an hour, and asked for again when one does not fit."""

import base64
import binascii
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from billing.domain.providers import NotAtProvider
from billing.pagbank_api.connection import PagBankConnection
from billing.pagbank_api.webhooks import load_public_key
from contracts.errors import BadGateway

_KEPT: Final = timedelta(hours=1)
#: A forged delivery must not make us ask PagBank each time.
_ASKED_AGAIN_AFTER: Final = timedelta(minutes=1)


class PublicKeys:
    """One account's cache of them."""

    def __init__(self, connection: PagBankConnection, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now
        self._keys: tuple[bytes, ...] = ()
        self._asked_at: datetime | None = None

    async def get(self, *, refresh: bool = False) -> tuple[bytes, ...]:
        """The keys in DER, new ones with `refresh`, which asks at most once a minute.

        Raises what ProviderHttp.ask does, and BadGateway for an answer without a usable key.
        """
        now = self._now()
        age = _KEPT if self._asked_at is None else now - self._asked_at
        if age >= (_ASKED_AGAIN_AFTER if refresh else _KEPT):
            self._keys = _read(await self._ask())
            self._asked_at = now
        return self._keys

    async def _ask(self) -> dict[str, Any]:
        # PagBank's guide names the first address, its reference the second.
        try:
            return await self._connection.ask("GET", "/public-keys", params={"type": "webhook"})
        except NotAtProvider:
            return await self._connection.ask("GET", "/public-keys/webhook")


def _read(found: dict[str, Any]) -> tuple[bytes, ...]:
    """The keys of `{"public_key": "<Base64 of DER, or PEM>"}`, one or a list of them."""
    given = found.get("public_key", found.get("public_keys"))
    keys = [_der(text) for text in (given if isinstance(given, list) else [given]) if isinstance(text, str)]
    usable = tuple(key for key in keys if load_public_key(key) is not None)
    if not usable:
        raise BadGateway("PagBank answered no usable public key.")
    return usable


def _der(text: str) -> bytes:
    if text.lstrip().startswith("-----BEGIN"):
        return text.encode()
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""
