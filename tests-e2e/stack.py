"""Starts the product as operators do, one process per service, supervised, on given or embedded parts."""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from testkit.embedded.process import LOOPBACK, free_port
from testkit.tokens import Identities

__all__ = [
    "LOOPBACK",
    "Secrets",
    "Supervised",
    "chassis_command",
    "free_port",
    "gateway_environment",
    "migrated",
    "served",
    "service_environment",
]


class Secrets:
    """Everything that must not be guessed, made afresh for each stack."""

    def __init__(self) -> None:
        self.identities = Identities()
        self.db_role = secrets.token_urlsafe(48)
        self.secrets_key = secrets.token_urlsafe(32)

    @property
    def jwt(self) -> str:
        """What the Go core and the gateway share."""
        return self.identities.jwt_secret

    def tenant_token(self, tenant_id: uuid.UUID, *, subject: str = "someone", role: str = "admin") -> str:
        """A tenant administrator's token, as the Go core signs it."""
        return self.identities.jwt(tenant_id=tenant_id, subject=subject, role=role)

    def platform_token(self) -> str:
        """A platform administrator's token: no tenant."""
        return self.identities.jwt(subject="operator", role="superadmin")


def gateway_environment(*, port: int, made: Secrets, upstreams: Mapping[str, str], **overrides: str) -> dict[str, str]:
    """What the gateway is configured with; `upstreams` maps a service's name to its URL."""
    return {
        "HOST": LOOPBACK,
        "PORT": str(port),
        "METRICS_PORT": str(free_port()),
        "JWT_SECRET": made.jwt,
        "INTERNAL_SIGNING_KEY": made.identities.private_key,
        "RATE_LIMIT_REQUESTS": "0",
        "RATE_LIMIT_ANONYMOUS_REQUESTS": "0",
        "RATE_LIMIT_WEBHOOK_REQUESTS": "0",
        **{f"UPSTREAM_{name.upper().replace('-', '_')}": url for name, url in upstreams.items()},
    } | overrides


def service_environment(
    *, port: int, database_url: str, amqp_url: str, made: Secrets, **overrides: str
) -> dict[str, str]:
    """What any service is configured with."""
    return {
        "HOST": LOOPBACK,
        "PORT": str(port),
        "METRICS_PORT": str(free_port()),
        "DATABASE_URL": database_url,
        "AMQP_URL": amqp_url,
        "DB_ROLE_SECRET": made.db_role,
        "SECRETS_KEY": made.secrets_key,
        "INTERNAL_PUBLIC_KEY": made.identities.public_key,
        "ENVIRONMENT": "local",
    } | overrides


class Supervised:
    """One process that is started again when it dies, as systemd and Kubernetes do; its output goes to `log`."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], *, log: Path) -> None:
        self.name = name
        self.command = list(command)
        self.environment = dict(environment)
        self.log = log
        #: The ends that nobody ordered, and when they were seen (time.time).
        self.exits: list[int] = []
        self.exited_at: list[float] = []
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._restarting = True

    @property
    def url(self) -> str:
        """Where it serves HTTP."""
        return f"http://{LOOPBACK}:{self.environment['PORT']}"

    @property
    def pid(self) -> int | None:
        """The running process, None between two lives."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Start it and keep it running until `stop`."""
        self._restarting = True
        await self._spawn()
        self._watch = asyncio.create_task(self._keep())

    async def stop(self, *, timeout_s: float = 25) -> int:
        """SIGTERM, wait, return the exit code. Raises TimeoutError after killing it when it does not end in time."""
        self._restarting = False
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout_s):
                return await process.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await process.wait()
            raise
        finally:
            if self._watch is not None:
                self._watch.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._watch
            _kill_session(process.pid)

    async def restart(self, *, environment: Mapping[str, str] | None = None) -> None:
        """Stop it in order and start it again, with other settings where given."""
        await self.stop()
        if environment is not None:
            self.environment = dict(environment)
        await self.start()

    def signal(self, number: signal.Signals) -> None:
        """Signal it (not the render worker beside it) if it runs."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def ready(self, *, timeout_s: float = 30, path: str = "/health/ready") -> float:
        """Wait for 200 on the health path; returns how long it took. Raises TimeoutError with the end of its log."""
        began = time.monotonic()
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            while time.monotonic() - began < timeout_s:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(self.url + path)).status_code == 200:
                        return time.monotonic() - began
                await asyncio.sleep(0.05)
        raise TimeoutError(f"{self.name} is not ready after {timeout_s:g} s; its log ends:\n{self.log_tail()}")

    def log_tail(self, size: int = 3000) -> str:
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else "(nothing)"

    async def _spawn(self) -> None:
        with self.log.open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                env={**_inherited(), **self.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    async def _keep(self) -> None:
        while True:
            process = self._process
            assert process is not None
            code = await process.wait()
            if not self._restarting:
                return
            _kill_session(process.pid)
            self.exits.append(code)
            self.exited_at.append(time.time())
            await asyncio.sleep(0.1)
            await self._spawn()


def _kill_session(leader: int) -> None:
    """What a killed leader left behind (a render worker) must not hold its ports or its memory."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _inherited() -> dict[str, str]:
    """The environment without settings of ours that happen to be exported in the caller's shell."""
    keep = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH")
    return {name: os.environ[name] for name in keep if name in os.environ}


def served(
    package: str, environment: Mapping[str, str], *, log: Path, name: str | None = None, test_build: bool = False
) -> Supervised:
    """A service of ours as a supervised process; a test build obeys FAILPOINTS."""
    module = ["testkit.serve"] if test_build else ["chassis", "serve"]
    return Supervised(name or package, [sys.executable, "-m", *module, package], environment, log=log)


async def migrated(package: str, *, owner_url: str, made: Secrets) -> None:
    """Bring the service's schema up to date, as the migrate job does. Raises RuntimeError with its output."""
    await chassis_command(
        "migrate",
        package,
        environment={"DATABASE_URL": owner_url, "DB_ROLE_SECRET": made.db_role, "ENVIRONMENT": "local"},
    )


async def chassis_command(*words: str, environment: Mapping[str, str]) -> str:
    """The output of `python -m chassis ...`. Raises RuntimeError with it when the command fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "chassis", *words),
        env={**_inherited(), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    said = output.decode(errors="replace")
    if process.returncode != 0:
        raise RuntimeError(f"chassis {' '.join(words)} failed with {process.returncode}: {said[-3000:]}")
    return said
