"""Tells failures that pass from those that do not, and puts them into words for a dead letter."""

import hashlib
import traceback
from typing import Final

import asyncpg

from contracts.errors import ServiceError, Unavailable

_MAX_REASON_CHARS: Final = 500
#: What a statement may end with, for who tries again in any case; the third when a session ends in the midst of a
#: BEGIN, COMMIT or ROLLBACK.
DATABASE_FAILED: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
# SQLSTATE classes and codes of a database that is away, short of something, or asks to try again: connection, rollback
# (serialization, deadlock), resources, operator intervention and statement time-out, system; lock and idle time-outs.
_PASSING: Final = ("08", "40", "53", "57", "58", "55P03", "25P03", "25P04")


def is_transient(error: BaseException) -> bool:
    """Whether trying again later may help: `Unavailable`, or a connection that was lost or refused."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(_PASSING)
    if isinstance(error, asyncpg.InternalClientError):
        return True
    # asyncpg says "connection is closed" with InterfaceError, "bad argument" with a subclass that is a ValueError too.
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, ValueError)
    return isinstance(error, Unavailable | OSError)


def reason_of(error: BaseException) -> str:
    """What went wrong, in one short line: the error's class and words."""
    words = error.detail if isinstance(error, ServiceError) else str(error)
    return f"{type(error).__name__}: {words}".replace("\n", " ")[:_MAX_REASON_CHARS]


def stack_hash_of(error: BaseException) -> str:
    """A short name of the place that failed, equal for failures at the same place whatever the data."""
    frames = "|".join(f"{frame.name}:{frame.filename}" for frame in traceback.extract_tb(error.__traceback__))
    return hashlib.sha256(f"{type(error).__qualname__}|{frames}".encode()).hexdigest()[:16]
