"""`python -m runner`: the whole product on this machine, until Ctrl-C or SIGTERM."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping

import asyncpg
import httpx
import msgspec
import uvloop

from chassis.migrate import MigrationError, migrate
from chassis.settings import DatabaseUrl, Secret, SecretUrl, SettingsError, load
from runner.demo_data import seed, sign_ins
from runner.demo_owner import demo_owner
from runner.env_file import write_env
from runner.environments import gateway_port, programs
from runner.layout import Layout, LocalError, here, package_of
from runner.local_secrets import local_secrets
from runner.one_process import serve_in_one_process
from runner.parts import Parts, parts
from runner.providers import providers
from runner.supervisor import supervise
from testkit.embedded.process import LOOPBACK, EmbeddedError

_BEGAN = time.monotonic()
_STOP_WITHIN_S = 40.0
_UNWIND_WITHIN_S = 60.0


class _Given(msgspec.Struct, frozen=True, kw_only=True):
    """What replaces an embedded part: read before anything is started, so that a slip is told in one line."""

    database_url: DatabaseUrl | None = None
    amqp_url: SecretUrl | None = None


def say(text: str) -> None:
    """Tell the person at the terminal how far we are."""
    print(f"[{time.monotonic() - _BEGAN:5.1f} s] {text}", flush=True)


async def run(layout: Layout, env: Mapping[str, str]) -> int:
    """Start everything, serve until a signal, stop everything in order; return the exit code.

    Raises: LocalError, EmbeddedError, MigrationError, SettingsError with a text for the person who started it.
    """
    stop, serving = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    working = asyncio.create_task(_run(layout, env, stop, serving))
    told = asyncio.create_task(stop.wait())
    await asyncio.wait([working, told], return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    patience_s = _STOP_WITHIN_S if serving.is_set() else 0.0
    while not working.done():
        # Once it serves, `stop` is the orderly way; before, and when that way is stuck, unwind what is there.
        await asyncio.wait([working], timeout=patience_s)
        working.cancel()
        patience_s = _UNWIND_WITHIN_S
    try:
        return await working
    except asyncio.CancelledError:
        return 0


async def _run(layout: Layout, env: Mapping[str, str], stop: asyncio.Event, serving: asyncio.Event) -> int:
    load(_Given, {**env, "ENVIRONMENT": "local"})
    port = gateway_port(env)
    secrets = local_secrets(layout.secrets_env, env)
    async with parts(layout, env, say) as stands, providers(env, port, say) as provided:
        for service in layout.services():
            try:
                applied = await migrate(stands.database_url, package_of(service), Secret(secrets["DB_ROLE_SECRET"]))
            except (asyncpg.PostgresError, OSError) as error:
                raise LocalError(f"DATABASE_URL: the database cannot be migrated for {service}: {error}") from error
            for name in applied:
                say(f"{service}: applied {name}")
        served = programs(layout.services(), stands, secrets, port, {**env, **provided})
        announcing: list[asyncio.Task[None]] = []

        def announce() -> None:
            serving.set()
            fakes = not env.get("STRIPE_SECRET_KEY") and not env.get("SMTP_URL")
            task = asyncio.create_task(_announce(layout, stands, secrets["JWT_SECRET"], port, with_journey=fakes))
            task.add_done_callback(lambda done: stop.set() if not done.cancelled() and done.exception() else None)
            announcing.append(task)

        say(f"starting {', '.join(program.name for program in served)}")
        if env.get("PROCESSES") == "each":
            code = await supervise(served, stop=stop, on_started=announce, say=say)
        else:
            code = await serve_in_one_process(served, stop=stop, on_started=announce)
        say("gateway and services stopped")
        for task in announcing:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()
        return code


async def _announce(layout: Layout, stands: Parts, jwt_secret: str, port: int, *, with_journey: bool) -> None:
    url = f"http://{LOOPBACK}:{port}"
    people = sign_ins(jwt_secret)
    write_env(
        layout.local_env,
        {
            "DATABASE_URL": stands.database_url,
            "AMQP_URL": stands.amqp_url,
            "SMTP_URL": stands.smtp_url,
            "JWT_SECRET": jwt_secret,
            "PORT": str(port),
            "MAIL_DIR": str(layout.mail_dir),
            "ADMIN_TOKEN": people.platform_admin,
        },
        comment="What `make run` decided, for programs that join in.",
    )
    try:
        await seed(url, people.owner)
        say("demo tenant is there")
    except (httpx.HTTPError, KeyError) as error:
        say(f"the demo tenant could not be made: {error!r}")
    owner = None
    if with_journey:
        try:
            kept = layout.local_env.with_name("demo.env")
            owner = await demo_owner(url, mail_dir=layout.mail_dir, kept=kept)
        except (httpx.HTTPError, KeyError) as error:
            say(f"the demo's owner could not sign up: {error!r}")
    print(f"ready: {url}", flush=True)
    if owner is not None:
        body = f'{{"email": "{owner.email}", "password": "{owner.password}"}}'
        print("somebody has bought a plan, got a welcome mail and chosen a password; sign in as them:")
        print(f"  curl -H 'Content-Type: application/json' -d '{body}' {url}/api/auth/login")
    print("or use the demo tenant's token, as a Go core would sign it:")
    print(f"  curl -H 'Authorization: Bearer {people.owner}' {url}/api/email-templates")
    print(f"the API: {url}/docs      send a mail: make demo      stop: Ctrl-C", flush=True)


def main(layout: Layout) -> int:
    """Run, and turn what a person can mend into one line."""
    try:
        with layout.locked():
            return uvloop.run(run(layout, os.environ))
    except (LocalError, EmbeddedError, MigrationError, SettingsError) as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(here()))
