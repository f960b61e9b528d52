"""The command behind `make import-gohorse`: copies GoHorse's settings and templates, and reports every row.

    python -m mailer.app import-gohorse <DSN of GoHorse's database> [tenant id]

Exit code 0: every row was taken or is here already; 1: some were refused, each is named with its reason; 2: bad usage,
or a database that does not answer.
"""

import sys
from collections.abc import Sequence
from uuid import UUID

from chassis.clock import utc_now
from chassis.db import Database
from chassis.secrets import SecretBox
from contracts.errors import Unavailable
from contracts.tenancy import PLATFORM_TENANT_ID
from mailer.gohorse_db import read_gohorse
from mailer.usecases.import_gohorse import import_gohorse


async def run(arguments: Sequence[str], *, db: Database, box: SecretBox, locale: str) -> int:
    """Does the import, writes one line per row to standard output, and returns the exit code."""
    try:
        command, dsn, tenant_id = _read(arguments)
    except ValueError:
        sys.stderr.write("usage: python -m mailer.app import-gohorse <DSN> [tenant id]\n")
        return 2
    try:
        rows = await read_gohorse(dsn)
        await db.open()
    except (Unavailable, OSError) as error:
        sys.stderr.write(f"{command}: {error}\n")
        return 2
    try:
        fates = await import_gohorse(db, rows, tenant_id=tenant_id, locale=locale, box=box, now=utc_now())
    finally:
        await db.close()
    for fate in fates:
        sys.stdout.write(f"{fate.outcome:8} {fate.table} {fate.id} {fate.note}".rstrip() + "\n")
    refused = sum(fate.outcome == "refused" for fate in fates)
    sys.stdout.write(f"{len(fates)} rows, {refused} refused\n")
    return 1 if refused else 0


def _read(arguments: Sequence[str]) -> tuple[str, str, UUID]:
    command, dsn, *rest = arguments
    if command != "import-gohorse" or len(rest) > 1:
        raise ValueError(command)
    return command, dsn, UUID(rest[0]) if rest else PLATFORM_TENANT_ID
