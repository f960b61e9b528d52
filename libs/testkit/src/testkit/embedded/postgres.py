"""Owns a private Postgres: binaries found, cluster made, server on a free loopback port, stopped cleanly."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from testkit.embedded.place import open_dir, private_dir, private_file, unprivileged_account
from testkit.embedded.postgres_binaries import postgres_binaries
from testkit.embedded.process import LOOPBACK, EmbeddedError, alive, command_line, end, free_port, spawn, wait_for

SUPERUSER = "postgres"
FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT


class EmbeddedPostgres:
    """One cluster under `directory`; `durable=False` trades safety against power loss (not kill -9) for speed."""

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self._account = unprivileged_account()
        self._directory = directory
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None
        self._given_up = threading.Event()
        self._log = directory / "postgres.log"

    @property
    def url(self) -> str:
        """The superuser's URL of database `postgres`; valid from the first `start` on, also across restarts."""
        if self._port is None:
            raise EmbeddedError("Postgres was not started yet")
        password = (self._directory / "postgres.password").read_text()
        return f"postgresql://{SUPERUSER}:{quote(password)}@{LOOPBACK}:{self._port}/postgres"

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, *, timeout_s: float = 60.0) -> str:
        """Start the server (made on first use) and return its URL once it answers; later starts keep the port.

        Raises: EmbeddedError when no binaries are found or the server does not come up.
        """
        open_dir(self._directory)
        binaries = postgres_binaries(self._account)
        self.end_orphans()
        data = self._data_dir(binaries)
        fixed_port, remembered = self._port, self._directory / "postgres.port"
        preferred = int(remembered.read_text()) if remembered.exists() else None
        for last_try in (False, False, True):
            self._port = fixed_port or free_port(preferred)
            self._process = spawn(
                [binaries / "postgres", "-D", data, *self._options()],
                account=self._account,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "UTC"},
                cwd=data,
                log=self._log,
            )
            try:
                wait_for(
                    lambda: _accepts(self._port or 0),
                    self._process,
                    what="Postgres",
                    log=self._log,
                    timeout_s=timeout_s,
                    given_up=self._given_up,
                )
            except BaseException as failure:
                self.stop()
                if last_try or fixed_port or self._given_up.is_set() or not isinstance(failure, EmbeddedError):
                    raise
                preferred = None  # Someone may have taken the port in between: another one.
            else:
                break
        remembered.write_text(str(self._port))
        return self.url

    @property
    def running(self) -> bool:
        """Whether its postmaster is there."""
        return self.pid is not None

    def give_up(self) -> None:
        """From another thread: make a `start` that still waits fail now; it is not to be started again."""
        self._given_up.set()

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, data is checkpointed; nothing happens when it does not run."""
        if self._process is not None:
            end(self._process, [(FAST, 20.0), (IMMEDIATE, 10.0)])
            self._process = None

    def crash(self) -> None:
        """kill -9 the postmaster and every backend, as a crash of the machine's process table would."""
        if self._process is not None:
            end(self._process, [])
            self._process = None

    def end_orphans(self) -> None:
        """End a server that a killed run left behind here; the caller makes sure that no living run uses it."""
        for pid_file in self._directory.glob("postgres-*/postmaster.pid"):
            _end_orphan(pid_file)

    def _options(self) -> Iterator[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self._port,
            "unix_socket_directories": "",
            "max_connections": 300,
            "shared_buffers": "64MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_min_messages": "warning",
        }
        if not self._durable:
            # Not synchronous_commit: without it kill -9 loses the last commits, which tests of crashes rely on.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        for name, value in settings.items():
            yield "-c"
            yield f"{name}={value}"

    def _data_dir(self, binaries: Path) -> Path:
        """The cluster for these binaries' major version, made when it is not there."""
        version = subprocess.run(
            [binaries / "postgres", "--version"], check=True, capture_output=True, text=True
        ).stdout
        data = self._directory / f"postgres-{version.split()[2].split('.')[0]}"
        password = self._directory / "postgres.password"
        if (data / "PG_VERSION").exists() and password.exists():
            return data
        # Made beside its place and moved there when complete: an interrupted initdb leaves nothing to trip over.
        unfinished = self._directory / "postgres-unfinished"
        for leftover in (data, unfinished):
            shutil.rmtree(leftover, ignore_errors=True)
        private_dir(unfinished, self._account)
        private_file(password, secrets.token_urlsafe(24))
        handed_over = private_file(self._directory / "initdb.password", password.read_text(), self._account)
        command: list[str | Path] = [
            binaries / "initdb",
            "-D",
            unfinished,
            "-U",
            SUPERUSER,
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
        ]
        command += ["--locale=C.UTF-8", f"--pwfile={handed_over}", "--no-instructions", "--no-sync"]
        try:
            with self._log.open("ab") as output:
                process = spawn(
                    command,
                    account=self._account,
                    env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "UTC"},
                    cwd=unfinished,
                    log=Path(output.name),
                )
                try:
                    code = process.wait(120)
                except BaseException:
                    end(process, [])
                    raise
        finally:
            handed_over.unlink()
        if code != 0:
            raise EmbeddedError(f"initdb failed with code {code}; see {self._log}")
        unfinished.rename(data)
        return data


def _end_orphan(pid_file: Path) -> None:
    try:
        pid = int(pid_file.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return
    data = pid_file.parent
    if not (alive(pid) and str(data) in command_line(pid)):
        return  # A stale file after kill -9, or a number that belongs to another program now: Postgres sorts it out.
    for number, patience_s in ((FAST, 20.0), (IMMEDIATE, 10.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience_s
        while alive(pid) and time.monotonic() < deadline:
            time.sleep(0.05)


def _accepts(port: int) -> bool:
    """Whether a server speaks the protocol and lets sessions in: a start-up packet is asked for a password."""
    body = struct.pack("!i", 196608) + f"user\0{SUPERUSER}\0database\0postgres\0\0".encode()
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2) as connection:
            connection.sendall(struct.pack("!i", len(body) + 4) + body)
            return connection.recv(1) == b"R"  # Authentication request; 'E' while it is still starting.
    except OSError:
        return False
