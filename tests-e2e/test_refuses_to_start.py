"""B27: a service with a missing, short, example or unusable setting ends at once and names it, never its value."""

import asyncio
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from stack import LOOPBACK, Secrets, free_port, gateway_environment, service_environment

#: Values that appear in examples and tutorials, that are too short, or that hold too little.
BAD_SECRETS = (
    "",
    "short",
    "your-secret-key",
    "your-secret-key-your-secret-key-your-secret-key",
    "changeme-changeme-changeme-changeme-changeme",
    "supersecretsupersecretsupersecret-example",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
)
ENDS_WITHIN_S = 30.0
AT_ONCE = 3


@dataclass(frozen=True)
class Refusal:
    """One configuration that must not be served from; `variable` None: any message will do."""

    package: str
    variable: str
    value: str | None

    def __str__(self) -> str:
        shown = "missing" if self.value is None else repr(self.value[:24])
        return f"{self.package}-{self.variable}-{shown}"


def _refusals() -> Iterator[Refusal]:
    for value in (None, *BAD_SECRETS):
        yield Refusal("gateway", "JWT_SECRET", value)
    for variable in ("DB_ROLE_SECRET", "SECRETS_KEY"):
        for value in (None, *BAD_SECRETS[1:4]):
            yield Refusal("mailer", variable, value)
    for value in BAD_SECRETS[1:3]:
        yield Refusal("gateway", "JWT_SECRET_PREVIOUS", value)
        yield Refusal("mailer", "SECRETS_KEY_PREVIOUS", value)
    for value in (None, "", "not-a-key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"):
        yield Refusal("gateway", "INTERNAL_SIGNING_KEY", value)
        yield Refusal("mailer", "INTERNAL_PUBLIC_KEY", value)
    for value in (None, "", "mysql://db.example.org/app", "postgresql://", "not a url"):
        yield Refusal("mailer", "DATABASE_URL", value)
    for value in (None, "", "http://broker.example.org", "amqp://", "not a url"):
        yield Refusal("mailer", "AMQP_URL", value)
    for package in ("gateway", "mailer"):
        yield Refusal(package, "PORT", "no-number")
        yield Refusal(package, "PORT", "70000")
        yield Refusal(package, "LOG_LEVEL", "LOUD")
    yield Refusal("mailer", "ROLE", "boss")
    yield Refusal("mailer", "ENVIRONMENT", "developement")
    yield Refusal("gateway", "UPSTREAM_MAILER", "ftp://mailer.example.org")


REFUSALS = tuple(_refusals())


def test_there_are_enough_of_them() -> None:
    assert len(REFUSALS) >= 40


async def test_each_is_refused_by_name_and_without_its_value() -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def tried(refusal: Refusal) -> str | None:
        async with gate:
            return await _complaint(refusal)

    complaints = [text for text in await asyncio.gather(*map(tried, REFUSALS)) if text]
    assert not complaints, "\n".join(complaints)


async def _complaint(refusal: Refusal) -> str | None:
    """What is wrong with how this configuration was treated; None when it was refused as promised."""
    code, said = await _started(refusal.package, _with(refusal))
    if code is None:
        return f"{refusal}: it serves"
    if code == 0:
        return f"{refusal}: exit code 0"
    if refusal.variable not in said:
        return f"{refusal}: the message does not name the variable: {said[-300:]}"
    if refusal.value and len(refusal.value) > 5 and refusal.value in said:
        return f"{refusal}: the message shows the value"
    if "Traceback" in said:
        return f"{refusal}: a stack trace instead of a message: {said[-300:]}"
    return None


def _with(refusal: Refusal) -> dict[str, str]:
    """A production environment that is right but for one variable."""
    made = Secrets()
    if refusal.package == "gateway":
        env = gateway_environment(port=free_port(), made=made, upstreams={"mailer": f"http://{LOOPBACK}:{free_port()}"})
    else:
        env = service_environment(
            port=free_port(),
            # Nothing listens there: a service that waits for its parts has accepted its settings.
            database_url=f"postgresql://{LOOPBACK}:{free_port()}/nothing",
            amqp_url=f"amqp://mailer:{made.db_role}@{LOOPBACK}:{free_port()}",
            made=made,
            ENVIRONMENT="production",
        )
    if refusal.value is None:
        env.pop(refusal.variable, None)
    else:
        env[refusal.variable] = refusal.value
    return env


async def _started(package: str, env: dict[str, str]) -> tuple[int | None, str]:
    """Exit code and output of a service; the code is None when it had to be stopped."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "chassis", "serve", package,
        env={"PATH": os.environ["PATH"], **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(ENDS_WITHIN_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        output, _ = await process.communicate()
        return None, output.decode(errors="replace")
    return process.returncode, output.decode(errors="replace")


@pytest.mark.parametrize("package", ["gateway", "mailer"])
async def test_the_same_environment_with_nothing_wrong_serves(package: str) -> None:
    """Else the refusals above would prove nothing."""
    env = _with(Refusal(package, "NOT_LOOKED_AT", "anything"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "chassis", "serve", package,
        env={"PATH": os.environ["PATH"], **env},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert await _lives(int(env["PORT"]), process)
    finally:
        if process.returncode is None:
            process.terminate()
        code = await process.wait()
    assert code == 0, "SIGTERM while waiting for its parts ends it in order"


async def _lives(port: int, process: asyncio.subprocess.Process) -> bool:
    for _ in range(300):
        if process.returncode is not None:
            return False
        try:
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.write(b"GET /health/live HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            status = await reader.readline()
            writer.close()
        except OSError:
            await asyncio.sleep(0.1)
        else:
            return b" 200 " in status
    return False
