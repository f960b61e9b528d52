"""B27: a service with a missing, short, example or unusable setting ends at once and names it, never its value."""

import asyncio
import importlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

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
AT_ONCE = 2
PACKAGES = ("gateway", "mailer")


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
    for package in PACKAGES:
        yield Refusal(package, "PORT", "no-number")
        yield Refusal(package, "PORT", "70000")
        yield Refusal(package, "LOG_LEVEL", "LOUD")
    for value in (None, "", "no-address"):
        yield Refusal("mailer", "SENDER_EMAIL", value)
    yield Refusal("mailer", "ROLE", "boss")
    yield Refusal("mailer", "ENVIRONMENT", "developement")
    yield Refusal("gateway", "UPSTREAM_MAILER", "ftp://mailer.example.org")


REFUSALS = tuple(_refusals())


def test_there_are_enough_of_them() -> None:
    assert len(REFUSALS) >= 40


async def test_each_is_refused_by_name_and_without_its_value() -> None:
    shares = [REFUSALS[number::AT_ONCE] for number in range(AT_ONCE)]
    complaints = [text for told in await asyncio.gather(*map(_complaints, shares)) for text in told]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("refusal", [REFUSALS[0], REFUSALS[-2]], ids=str)
async def test_a_refusal_ends_the_process(refusal: Refusal) -> None:
    code, said = await _started(refusal.package, _with(refusal))
    assert _complaint(refusal, code, said) is None


async def _complaints(refusals: Sequence[Refusal]) -> list[str]:
    """What is wrong with how these configurations were treated, tried one after the other by `serve_forks`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, *PACKAGES, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    asked = "".join(json.dumps([one.package, _with(one)]) + "\n" for one in refusals)
    output, _ = await process.communicate(asked.encode())
    told = [json.loads(line) for line in output.splitlines()]
    assert len(told) == len(refusals)
    return [text for one, (code, said) in zip(refusals, told, strict=True) if (text := _complaint(one, code, said))]


def serve_forks(packages: Sequence[str]) -> None:
    """Serve each [package, environment] of stdin in a fork of this process, and answer [exit code or null, output].

    It has imported everything once: to import it anew for each takes nearly all of the time that a refusal takes.
    """
    chassis = importlib.import_module("chassis.__main__")
    for package in packages:
        importlib.import_module(f"{package}.app")
    for line in sys.stdin:
        package, env = json.loads(line)
        with tempfile.TemporaryFile() as output:
            pid = os.fork()
            if pid == 0:
                _serve(chassis.main, package, env, output.fileno())
            code = _ended(pid)
            output.seek(0)
            print(json.dumps([code, output.read().decode(errors="replace")]), flush=True)


def _serve(main: Callable[[list[str]], int], package: str, env: dict[str, str], output: int) -> NoReturn:
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(env)
    code = 1
    try:
        code = main(["serve", package])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _ended(pid: int) -> int | None:
    """The exit code of a child; None when it had to be killed."""
    give_up_at = time.monotonic() + ENDS_WITHIN_S
    while time.monotonic() < give_up_at:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def _complaint(refusal: Refusal, code: int | None, said: str) -> str | None:
    """What is wrong with how this configuration was treated; None when it was refused as promised."""
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
            SENDER_EMAIL="no-reply@refusals.example.org",
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


@pytest.mark.parametrize("package", PACKAGES)
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


if __name__ == "__main__":
    serve_forks(sys.argv[1:])
