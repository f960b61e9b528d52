"""Passwords: argon2id in a bounded pool of threads, and the older bcrypt hashes that are taken over at next use."""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self, TypeVar

import bcrypt
from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from contracts.errors import Unavailable

T = TypeVar("T")

#: RFC 9106 and OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
MEMORY_KIB: Final = 19 * 1024
_WAITING_PER_THREAD: Final = 16
_BCRYPT: Final = ("$2a$", "$2b$", "$2y$")
_BCRYPT_BYTES: Final = 72  # bcrypt reads no further, and newer libraries refuse more


class Passwords:
    """Hashes and checks; at most `threads` at once, and a bounded number waiting, so that a flood cannot pile up.

    The work is the same whether an account exists or not: without a hash, a check runs against one that nothing fits.
    """

    def __init__(self, threads: int) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=MEMORY_KIB, parallelism=1, type=Type.ID)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._places = threads * _WAITING_PER_THREAD
        self._nobodys = self._hasher.hash(secrets.token_urlsafe(32))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """The hash to store. Raises Unavailable when too many wait."""
        return await self._run(self._hasher.hash, password)

    async def check(self, password: str, stored: str | None, *, imported: str | None = None) -> bool:
        """Whether it is the password; for no stored hash as much work, and False. Raises Unavailable as `hash`.

        `imported` is a bcrypt hash of anybody's, while there are such accounts: with it every check costs as much as
        one of theirs, so that time does not tell which accounts were imported.
        """
        return await self._run(self._check, password, stored, imported)

    def is_current(self, stored: str) -> bool:
        """Whether the hash is as we would make it now; one that is not is made anew at the next sign-in."""
        try:
            return not self._hasher.check_needs_rehash(stored)
        except InvalidHashError:
            return False

    def _check(self, password: str, stored: str | None, imported: str | None = None) -> bool:
        if stored is not None and stored.startswith(_BCRYPT):
            self._argon2(password, self._nobodys)
            return self._bcrypt(password, stored)
        if imported is not None:
            self._bcrypt(password, imported)  # somebody else's: what comes of it is nobody's business
        return self._argon2(password, stored or self._nobodys) and stored is not None

    def _bcrypt(self, password: str, stored: str) -> bool:
        return bcrypt.checkpw(password.encode()[:_BCRYPT_BYTES], stored.encode())

    def _argon2(self, password: str, stored: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[..., T], *arguments: str | None) -> T:
        if self._places <= 0:
            raise Unavailable("Too many sign-ins are under way.", code="busy", retry_after_s=1)
        self._places -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._places += 1
