"""Serves the apps that a JSON list of [package, environment] on standard input names, in this one process.

Nine of them stand for the nine services until there are nine: each has its own app, port, pool, consumers and metrics.
"""

import importlib
import json
import sys

from chassis.serve import serve_all


def main() -> int:
    """Serve until SIGTERM."""
    programs: list[tuple[str, dict[str, str]]] = json.load(sys.stdin)
    return serve_all([(importlib.import_module(f"{package}.app").build, env) for package, env in programs])


if __name__ == "__main__":
    sys.exit(main())
