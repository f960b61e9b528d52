"""The operator's command that makes an administrator of the platform, or no longer one: no route does either.

    python -m tenants.app platform-admin [--revoke] <e-mail address> [name]

Exit code 0: it is so now, or was already; 2: bad usage, a refusal, or a database that does not answer.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from chassis.clock import utc_now
from chassis.db import Database, platform_transaction
from contracts.errors import ServiceError
from tenants.domain.doers import OPERATOR
from tenants.domain.emails import normal_email
from tenants.domain.terms import WELCOME_LINK, Terms
from tenants.usecases.appoint_administrator import Appointment, appoint_administrator
from tenants.usecases.dismiss_administrator import dismiss_administrator

_MAX_NAME_CHARS: Final = 120  # as the API takes


async def run(arguments: Sequence[str], *, db: Database, terms: Terms) -> int:
    """Does it, writes to standard output what was done, and returns the exit code. Raises SystemExit on bad usage."""
    options = _read(arguments)
    try:
        await db.open()
        async with platform_transaction(db) as conn:
            if options.revoke:
                was_one = await dismiss_administrator(conn, options.email, by=OPERATOR, now=utc_now())
                said = "no longer a platform administrator" if was_one else "no platform administrator; nothing changed"
            else:
                said = _told(
                    await appoint_administrator(
                        conn, options.email, options.name, by=OPERATOR, terms=terms, now=utc_now()
                    )
                )
    except (ServiceError, OSError) as error:
        sys.stderr.write(f"{options.command}: {error}\n")
        return 2
    finally:
        await db.close()
    sys.stdout.write(f"{options.email}: {said}\n")
    return 0


def _read(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tenants.app")
    parser.add_argument("command", choices=["platform-admin"])
    parser.add_argument("email")
    parser.add_argument("name", nargs="?", help="for a new account; what stands before the @ by default")
    parser.add_argument("--revoke", action="store_true", help="takes it away again")
    options = parser.parse_args(arguments)
    try:
        options.email = normal_email(options.email)
    except ServiceError as error:
        parser.error("; ".join([str(error), *(one.message for one in error.errors)]))
    options.name = (options.name or options.email.partition("@")[0]).strip()
    if not options.name or len(options.name) > _MAX_NAME_CHARS or not options.name.isprintable():
        parser.error(f"a name has 1 to {_MAX_NAME_CHARS} printable characters")
    return options


def _told(done: Appointment) -> str:
    said = ["a platform administrator" if done.is_changed else "a platform administrator already"]
    if done.is_new:
        said.append(f"new account {done.user.id}")
    if done.is_mailed:
        said.append(f"a link to choose a password is on its way, good for {WELCOME_LINK.days} days")
    elif done.user.password_hash is None:
        said.append("the link mailed before still works; POST /auth/forgot-password sends another")
    elif done.is_changed:
        said.append("signs in with the password they have")
    return "; ".join(said)
