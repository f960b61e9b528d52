"""Owns a private LavinMQ in a container, for machines that have a Docker engine and no broker."""

import contextlib
import shutil
import subprocess
import threading
from pathlib import Path

from testkit.embedded.amqp import USER, Endpoint, answers_amqp
from testkit.embedded.place import open_dir
from testkit.embedded.process import LOOPBACK, EmbeddedError, wait_for

LAVINMQ_IMAGE = "cloudamqp/lavinmq:2.9.1"
POSTGRES_IMAGE = "postgres:18"


def docker_answers() -> bool:
    """Whether a Docker engine can be asked for containers from here."""
    if shutil.which("docker") is None:
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=10).returncode == 0
    except subprocess.TimeoutExpired:
        return False


class LavinmqContainer:
    """One container; its data lives in its own layer and is gone when the broker is stopped."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._log = directory / "lavinmq-container.log"
        self._endpoint = Endpoint(directory, ("amqp",))
        self._container: str | None = None
        self._given_up = threading.Event()

    @property
    def url(self) -> str:
        return self._endpoint.url

    def start(self, *, timeout_s: float = 90.0) -> str:
        open_dir(self.directory)
        if self._container is None:
            self.end_orphans()
            self._endpoint.settle()
            self._container = _docker(
                *("run", "--detach", "--publish", f"{LOOPBACK}:{self._endpoint.ports['amqp']}:5672"),
                *(LAVINMQ_IMAGE, f"--default-user={USER}", "--default-user-only-loopback=false"),
                f"--default-password-hash={self._endpoint.lavinmq_password_hash()}",
            )
            (self.directory / "lavinmq.container").write_text(self._container)
        else:
            _docker("start", self._container)
        port = self._endpoint.ports["amqp"]
        try:
            wait_for(
                lambda: answers_amqp(port),
                None,
                what="LavinMQ's container",
                log=self._log,
                timeout_s=timeout_s,
                given_up=self._given_up,
            )
        except BaseException:
            self.wipe()
            raise
        return self.url

    @property
    def running(self) -> bool:
        return self._container is not None and answers_amqp(self._endpoint.ports["amqp"])

    def give_up(self) -> None:
        self._given_up.set()

    def stop(self) -> None:
        if self._container is not None:
            _docker("stop", "--time", "20", self._container)

    def crash(self) -> None:
        if self._container is not None:
            _docker("kill", self._container)

    def wipe(self) -> None:
        if self._container is not None:
            _docker("rm", "--force", self._container)
            self._container = None

    def end_orphans(self) -> None:
        """Remove a container that a killed run left behind here; the caller holds the folder's lock."""
        with contextlib.suppress(OSError, EmbeddedError):
            _docker("rm", "--force", (self.directory / "lavinmq.container").read_text())


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EmbeddedError(f"docker {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()
