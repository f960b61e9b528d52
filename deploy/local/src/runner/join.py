"""`python -m runner.join <service> <module> [arguments]`: runs a module with the environment of a local service.

For the command lines that look after a service: `python -m runner.join mailer chassis dlq mailer list`. Where no local
system was ever started and DATABASE_URL is set, the environment stays as it is.
"""

import os
import runpy
import sys

from runner.env_file import read_env
from runner.environments import Program, programs
from runner.layout import Layout, LocalError, here
from runner.local_secrets import local_secrets
from runner.parts import Parts


def environment_of(layout: Layout, service: str) -> Program:
    """The running system's program of this name. Raises: LocalError when there is none."""
    decided = read_env(layout.local_env)
    if not decided:
        raise LocalError("no var/local.env: start the system with `make run` first")
    parts = Parts(decided["DATABASE_URL"], decided["AMQP_URL"], decided["SMTP_URL"])
    secrets = local_secrets(layout.secrets_env, os.environ) | {"JWT_SECRET": decided["JWT_SECRET"]}
    for program in programs(layout.services(), parts, secrets, int(decided["PORT"]), os.environ):
        if program.name == service:
            return program
    raise LocalError(f"no service named {service}; there are {', '.join(layout.services())} and gateway")


def main(arguments: list[str]) -> int:
    """Become the module, in the service's environment."""
    if len(arguments) < 2:
        print("usage: python -m runner.join <service> <module> [arguments]", file=sys.stderr)
        return 2
    service, module, *rest = arguments
    layout = here()
    try:
        if layout.local_env.exists() or not os.environ.get("DATABASE_URL"):
            os.environ.update(environment_of(layout, service).env)
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
