"""The command line of every service: `python -m chassis serve|migrate|outbox|dlq|openapi <package>`."""

import argparse
import asyncio
import importlib
import os
import sys
from collections.abc import Mapping, Sequence

from chassis.migrate import MigrationError, migrate
from chassis.serve import serve_all
from chassis.settings import SettingsError


def main(arguments: Sequence[str], env: Mapping[str, str] = os.environ) -> int:
    """Runs one command and answers its exit code."""
    parser = argparse.ArgumentParser(prog="chassis", description="Serve a service, or look after it.")
    parser.add_argument("command", choices=("serve", "migrate", "openapi"))
    parser.add_argument("package")
    options = parser.parse_args(arguments)
    try:
        if options.command == "serve":
            return serve_all([(importlib.import_module(f"{options.package}.app").build, env)])
        if options.command == "migrate":
            from chassis.settings import Secret

            for name in asyncio.run(migrate(env["DATABASE_URL"], options.package, Secret(env["DB_ROLE_SECRET"]))):
                sys.stdout.write(f"applied {name}\n")
    except (SettingsError, MigrationError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
