"""Owns a private LavinMQ process: every port its own, or it would die on a clash."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from functools import partial
from pathlib import Path

from testkit.embedded.amqp import USER, Endpoint, answers_amqp
from testkit.embedded.place import open_dir, private_dir, unprivileged_account
from testkit.embedded.process import LOOPBACK, EmbeddedError, alive, command_line, end, kill_session, spawn, wait_for

_PORTS = ("amqp", "http", "mqtt", "metrics", "clustering")


class LavinmqProcess:
    """One lavinmq of our own; listens within a fraction of a second."""

    def __init__(self, directory: Path, binary: Path) -> None:
        self.directory = directory
        self._binary = binary
        self._data = directory / "lavinmq"
        self._log = directory / "lavinmq.log"
        self._account = unprivileged_account()
        self._endpoint = Endpoint(directory, _PORTS)
        self._process: subprocess.Popen[bytes] | None = None
        self._given_up = threading.Event()

    @property
    def url(self) -> str:
        return self._endpoint.url

    def start(self, *, timeout_s: float = 90.0) -> str:
        open_dir(self.directory)
        self.end_orphans()
        fixed = bool(self._endpoint.ports)
        for attempt in range(3):
            self._endpoint.settle(fresh=attempt > 0)
            ports = self._endpoint.ports
            try:
                self._launch()
                wait_for(
                    partial(answers_amqp, ports["amqp"]),
                    self._process,
                    what="LavinMQ",
                    log=self._log,
                    timeout_s=timeout_s,
                    given_up=self._given_up,
                )
            except BaseException as failure:
                self.crash()
                if attempt == 2 or fixed or not isinstance(failure, EmbeddedError) or self._given_up.is_set():
                    raise
            else:
                break
        return self.url

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def give_up(self) -> None:
        self._given_up.set()

    def stop(self) -> None:
        if self._process is not None:
            end(self._process, [(signal.SIGTERM, 20.0)])
            self._process = None

    def crash(self) -> None:
        if self._process is not None:
            end(self._process, [])
            self._process = None

    def wipe(self) -> None:
        self.crash()
        shutil.rmtree(self._data, ignore_errors=True)

    def _launch(self) -> None:
        private_dir(self._data, self._account)
        ports = self._endpoint.ports
        command = [str(self._binary), "-D", str(self._data), "-b", LOOPBACK, "-p", str(ports["amqp"])]
        command += [f"--{name}-port={ports[name]}" for name in ("http", "mqtt", "clustering")]
        command += [f"--metrics-http-port={ports['metrics']}", f"--default-user={USER}"]
        command += [f"--default-password-hash={self._endpoint.lavinmq_password_hash()}", "--log-level=warn"]
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(self._data),
            # Else a machine-wide /etc/lavinmq/lavinmq.ini would be read.
            "CONFIGURATION_DIRECTORY": str(self._data),
        }
        self._process = spawn(command, account=self._account, env=environment, cwd=self._data, log=self._log)
        (self.directory / "lavinmq.pid").write_text(str(self._process.pid))

    def end_orphans(self) -> None:
        """End a process that a killed run left behind here; the caller holds the folder's lock."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.directory / "lavinmq.pid").read_text())
            if alive(pid) and str(self._data) in command_line(pid):
                kill_session(pid)
