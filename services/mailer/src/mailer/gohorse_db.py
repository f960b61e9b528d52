"""Reads GoHorse's own database, which is nobody's schema of ours: two tables, whatever types their columns have."""

from typing import Any

import asyncpg
import msgspec

from contracts.errors import Unavailable


class GohorseRows(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of both tables, each as the JSON that Postgres makes of it."""

    email_settings: list[dict[str, Any]]
    email_templates: list[dict[str, Any]]


async def read_gohorse(dsn: str) -> GohorseRows:
    """Everything in `email_settings` and `email_templates`; a table that is not there has no rows. Changes nothing.

    Raises Unavailable when the database does not answer, its tables cannot be read, or it has neither of them.
    """
    try:
        conn = await asyncpg.connect(dsn, timeout=10, server_settings={"default_transaction_read_only": "on"})
    except (OSError, asyncpg.PostgresError, ValueError) as error:
        raise Unavailable(f"GoHorse's database does not answer: {type(error).__name__}") from error
    try:
        settings, templates = [], []
        has_settings = await conn.fetchval("SELECT to_regclass('email_settings')")
        has_templates = await conn.fetchval("SELECT to_regclass('email_templates')")
        if has_settings:
            settings = await conn.fetch(
                "SELECT to_jsonb(t)::text AS row FROM email_settings t ORDER BY to_jsonb(t)->>'id'"
            )
        if has_templates:
            templates = await conn.fetch(
                "SELECT to_jsonb(t)::text AS row FROM email_templates t ORDER BY to_jsonb(t)->>'id'"
            )
    except asyncpg.PostgresError as error:
        raise Unavailable(f"GoHorse's tables cannot be read: {error}") from error
    finally:
        await conn.close()
    if not has_settings and not has_templates:
        raise Unavailable("there is neither email_settings nor email_templates in that database")
    return GohorseRows(
        email_settings=[msgspec.json.decode(row["row"]) for row in settings],
        email_templates=[msgspec.json.decode(row["row"]) for row in templates],
    )
