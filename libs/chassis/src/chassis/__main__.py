"""The command line of every service: `python -m chassis serve|migrate|openapi|outbox|dlq <package>`."""

import argparse
import asyncio
import getpass
import importlib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import msgspec

from bus import dead_letters, outbox
from bus.connection import Broker
from chassis.db import Database
from chassis.migrate import MigrationError, migrate
from chassis.serve import serve_all, served
from chassis.settings import DatabaseUrl, Secret, SecretUrl, SettingsError, load
from contracts.errors import ServiceError


class _Reach(msgspec.Struct, frozen=True, kw_only=True):
    """What the commands need that are not a service: the database, as its owner or as the service's roles."""

    database_url: DatabaseUrl
    db_role_secret: Secret


class _BrokerReach(msgspec.Struct, frozen=True, kw_only=True):
    amqp_url: SecretUrl


N = TypeVar("N", int, float)


def main(arguments: Sequence[str], env: Mapping[str, str] = os.environ) -> int:
    """Runs one command and answers its exit code: 0, or 2 when it was refused."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "dlq" and options.action == "show" and not options.ids:
        parser.error("say which dead letters to show: their ids, as `list` prints them")
    if options.command == "dlq" and options.action == "discard" and not (options.all or _is_narrowed(options)):
        parser.error("say which dead letters to discard (ids, --queue, --type, --tenant, --reason, --since), or --all")
    try:
        match options.command:
            case "serve":
                return serve_all([(_build(options.package), env)])
            case "migrate":
                reach = load(_Reach, env)
                for name in asyncio.run(migrate(reach.database_url, options.package, reach.db_role_secret)):
                    _say({"applied": name})
            case "openapi":
                describe = served(_build(options.package)(env)).openapi
                sys.stdout.buffer.write(describe() if describe else b"{}")
            case _:
                asyncio.run(_look_after(options, env))
    except (SettingsError, MigrationError, ServiceError, asyncpg.PostgresError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def since(text: str) -> datetime:
    """An instant: ISO 8601, or so long ago as `90s`, `15m`, `2h` or `3d`. Raises ValueError."""
    if ago := re.fullmatch(r"(\d{1,9})([smhd])", text):
        try:
            return datetime.now(UTC) - int(ago[1]) * timedelta(seconds={"s": 1, "m": 60, "h": 3600, "d": 86400}[ago[2]])
        except OverflowError:
            raise ValueError("before the calendar begins") from None
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _above_nought(kind: type[N]) -> Callable[[str], N]:
    def number(text: str) -> N:
        value = kind(text)
        if not 0 < value < 2**31:  # false for NaN too
            raise ValueError(text)
        return value

    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chassis", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, does in {
        "serve": "serve it until SIGTERM",
        "migrate": "bring its schema to the present version (DATABASE_URL is the owner's)",
        "openapi": "print its OpenAPI document",
        "outbox": "publish again what a broker has lost",
        "dlq": "look after its dead letters",
    }.items():
        command = commands.add_parser(name, help=does)
        command.add_argument("package", help="the service's package, for example mailer")
        if name in ("outbox", "dlq"):
            command.add_argument("action", choices=("republish",) if name == "outbox" else _DLQ_ACTIONS)
            command.add_argument("--since", type=since, required=name == "outbox", help="ISO 8601, or 90s, 15m, 2h, 3d")
            command.add_argument("--type")
            command.add_argument("--tenant", type=UUID)
        if name == "dlq":
            command.add_argument("ids", type=UUID, nargs="*")
            command.add_argument("--queue")
            command.add_argument("--reason", help="a part of the reason")
            command.add_argument("--all", action="store_true", help="discard whichever are open, up to --limit")
            command.add_argument("--limit", type=_above_nought(int), default=1000)
            command.add_argument("--rate", type=_above_nought(float), help="messages a second")
            command.add_argument("--dry-run", action="store_true")
            command.add_argument("--actor", help="who does it, for the audit columns; this user by default")
    return parser


def _is_narrowed(options: argparse.Namespace) -> bool:
    return any((options.ids, options.queue, options.type, options.tenant, options.reason, options.since))


_DLQ_ACTIONS = ("list", "show", "replay", "discard")


async def _look_after(options: argparse.Namespace, env: Mapping[str, str]) -> None:
    reach = load(_Reach, env)
    db = Database(reach.database_url, options.package, reach.db_role_secret, size=2)
    await db.open()
    try:
        if options.command == "outbox":
            async with db.platform.acquire() as connection:
                rows = await outbox.republish(
                    connection, since=options.since, type=options.type, tenant_id=options.tenant
                )
            _say({"republished": rows})
        else:
            await _dead_letters(options, db, env)
    finally:
        await db.close()


async def _dead_letters(options: argparse.Namespace, db: Database, env: Mapping[str, str]) -> None:
    selection = dead_letters.Selection(
        ids=tuple(options.ids) or None,
        queue=options.queue,
        type=options.type,
        tenant_id=options.tenant,
        reason=options.reason,
        since=options.since,
        limit=options.limit,
    )
    actor = options.actor or getpass.getuser()
    async with db.platform.acquire() as connection:
        if options.action == "show":
            for letter_id in options.ids:
                content = await dead_letters.show(connection, letter_id)
                shown = {"headers": content.headers, "body": content.body.decode(errors="backslashreplace")}
                _say(msgspec.to_builtins(content.letter) | shown)
        elif options.action == "list" or options.dry_run:
            for letter in await dead_letters.list_letters(connection, selection):
                _say(letter)
        elif options.action == "discard":
            for letter_id in await dead_letters.discard(connection, selection, actor=actor):
                _say({"discarded": letter_id})
        else:
            broker = Broker(load(_BrokerReach, env).amqp_url.reveal(), name="dlq")
            await broker.start()
            try:
                _say(await dead_letters.replay(connection, broker, selection, actor=actor, rate_per_s=options.rate))
            finally:
                await broker.close()


def _build(package: str) -> Any:
    return importlib.import_module(f"{package}.app").build


def _say(value: object) -> None:
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
