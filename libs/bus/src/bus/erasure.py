"""What dead letters hold about a person: found by what they mention, and replaced by what may stay."""

from uuid import UUID

from bus.outbox import TOMBSTONE, Connection


async def list_mentions(conn: Connection, queue: str, text: str) -> dict[UUID, bytes]:
    """The bodies of `queue`'s letters, open or resolved, that hold `text` in whatever case of ASCII; by letter."""
    rows = await conn.fetch(
        """
        SELECT id, body FROM dead_letters
        WHERE queue = $1 AND erased_at IS NULL
          AND position(lower(encode(convert_to($2, 'UTF8'), 'escape')) IN lower(encode(body, 'escape'))) > 0
        ORDER BY died_at, id FOR UPDATE
        """,
        queue, text,
    )  # fmt: skip
    return {row["id"]: bytes(row["body"]) for row in rows}


async def replace_body(conn: Connection, letter_id: UUID, body: bytes | None) -> None:
    """Gives a letter another body; None leaves a tombstone, which is never replayed."""
    await conn.execute(
        """
        UPDATE dead_letters
        SET body = COALESCE($2::bytea, $3), erased_at = CASE WHEN $2 IS NULL THEN clock_timestamp() END
        WHERE id = $1 AND erased_at IS NULL
        """,
        letter_id, body, TOMBSTONE,
    )  # fmt: skip
