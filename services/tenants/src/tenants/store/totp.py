"""SQL over second factors: for platform transactions only."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from chassis.db import Connection


class SecondFactor(msgspec.Struct, frozen=True, kw_only=True):
    """One row of totp_secrets; `secret` is sealed."""

    user_id: UUID
    secret: bytes
    enabled_at: datetime | None
    last_step: int


async def has_second_factor(conn: Connection, user_id: UUID) -> bool:
    """Whether signing in takes one."""
    return (
        await conn.fetchval("SELECT true FROM totp_secrets WHERE user_id = $1 AND enabled_at IS NOT NULL", user_id)
        is True
    )


async def lock_second_factor(conn: Connection, user_id: UUID) -> SecondFactor | None:
    """The second factor, enabled or not, kept from others: a code is read and spent by one at a time."""
    row = await conn.fetchrow(
        "SELECT user_id, secret, enabled_at, last_step FROM totp_secrets WHERE user_id = $1 FOR UPDATE", user_id
    )
    # Not by msgspec: it would take the bytea for base64.
    return None if row is None else SecondFactor(**dict(row))


async def put_secret(conn: Connection, user_id: UUID, secret: bytes, now: datetime) -> bool:
    """Sets a second factor up, in the place of one that was never enabled; False where one is enabled."""
    return (
        await conn.fetchval(
            """
            INSERT INTO totp_secrets (user_id, secret, created_at) VALUES ($1, $2, $3)
            ON CONFLICT (user_id) DO UPDATE
                SET secret = excluded.secret, last_step = 0, created_at = excluded.created_at
                WHERE totp_secrets.enabled_at IS NULL
            RETURNING true
            """,
            user_id,
            secret,
            now,
        )
        is True
    )


async def replace_sealed(conn: Connection, user_id: UUID, secret: bytes) -> None:
    """The same secret, sealed anew."""
    await conn.execute("UPDATE totp_secrets SET secret = $2 WHERE user_id = $1", user_id, secret)


async def mark_step_used(conn: Connection, user_id: UUID, step: int) -> None:
    """No code of that time step or an older one is taken any more."""
    await conn.execute("UPDATE totp_secrets SET last_step = $2 WHERE user_id = $1", user_id, step)


async def mark_enabled(conn: Connection, user_id: UUID, now: datetime) -> None:
    """Signing in takes a code from now on."""
    await conn.execute("UPDATE totp_secrets SET enabled_at = $2 WHERE user_id = $1", user_id, now)


async def delete_second_factor(conn: Connection, user_id: UUID) -> None:
    """Removes the second factor and its recovery codes."""
    await conn.execute(
        """
        WITH codes AS (DELETE FROM recovery_codes WHERE user_id = $1)
        DELETE FROM totp_secrets WHERE user_id = $1
        """,
        user_id,
    )


async def insert_recovery_codes(conn: Connection, user_id: UUID, hashes: Sequence[bytes]) -> None:
    """Adds the codes; there are none before a second factor is enabled."""
    await conn.execute(
        "INSERT INTO recovery_codes (user_id, code_sha256) SELECT $1, h FROM unnest($2::bytea[]) h", user_id, hashes
    )


async def use_recovery_code(conn: Connection, user_id: UUID, code_sha256: bytes, now: datetime) -> bool:
    """Whether it is one of the person's codes, and was not used before; it is now."""
    return (
        await conn.fetchval(
            """
            UPDATE recovery_codes SET used_at = $3 WHERE user_id = $1 AND code_sha256 = $2 AND used_at IS NULL
            RETURNING true
            """,
            user_id,
            code_sha256,
            now,
        )
        is True
    )
