"""Owns a private RabbitMQ node: every port, directory and credential its own, no plugins, no system service."""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

from testkit.embedded.amqp import USER, Endpoint, answers_amqp
from testkit.embedded.place import open_dir, private_dir, private_file, unprivileged_account
from testkit.embedded.process import (
    LOOPBACK,
    EmbeddedError,
    alive,
    command_line,
    end,
    free_port,
    kill_session,
    spawn,
    wait_for,
)

# Debian's wrapper on PATH changes user with `su` or refuses; this is the script behind it.
SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class RabbitmqNode:
    """One node with its own epmd; about 8 s to listen."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._home = directory / "rabbitmq"
        self._log = directory / "rabbitmq.log"
        self._account = unprivileged_account()
        self._name = f"bo{hashlib.sha256(str(directory).encode()).hexdigest()[:10]}@localhost"
        self._endpoint = Endpoint(directory, ("amqp", "dist", "epmd"))
        self._epmd: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[bytes] | None = None
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
            try:
                self._launch(timeout_s)
            except BaseException as failure:
                self.crash()
                # A port may have been taken in between; but once clients hold the URL it must not move.
                if attempt == 2 or fixed or not isinstance(failure, EmbeddedError) or not self._port_was_taken():
                    raise
            else:
                break
        return self.url

    @property
    def running(self) -> bool:
        return self._node is not None and self._node.poll() is None

    def give_up(self) -> None:
        self._given_up.set()

    def stop(self) -> None:
        if self._node is not None:
            end(self._node, [(signal.SIGTERM, 30.0)])
        self.crash()

    def crash(self) -> None:
        for process in (self._node, self._epmd):
            if process is not None:
                end(process, [])
        self._node = self._epmd = None

    def wipe(self) -> None:
        self.crash()  # an orderly stop takes seconds, to save what is deleted next
        shutil.rmtree(self._home, ignore_errors=True)

    def _launch(self, timeout_s: float) -> None:
        private_dir(self._home, self._account)
        environment = self._environment()
        ports = self._endpoint.ports
        # Started by us and in the foreground: RabbitMQ's own would stay behind as a daemon after the node stopped.
        self._epmd = spawn(
            ["epmd", "-address", LOOPBACK, "-port", str(ports["epmd"])],
            account=self._account,
            env=environment,
            cwd=self._home,
            log=self._log,
        )
        wait_for(
            lambda: free_port(ports["epmd"]) != ports["epmd"],
            self._epmd,
            what="epmd",
            log=self._log,
            timeout_s=10,
            given_up=self._given_up,
        )
        self._node = spawn([SERVER], account=self._account, env=environment, cwd=self._home, log=self._log)
        (self.directory / "rabbitmq.pids").write_text(f"{self._node.pid} {self._epmd.pid}")
        wait_for(
            lambda: answers_amqp(ports["amqp"]),
            self._node,
            what="RabbitMQ",
            log=self._log,
            timeout_s=timeout_s,
            given_up=self._given_up,
        )

    def _environment(self) -> dict[str, str]:
        home, ports = self._home, self._endpoint.ports
        for name, text in {
            "enabled_plugins": "[].",
            "advanced.config": "[].",
            "env.conf": "",
            # The user is made when the node first starts on an empty directory.
            "rabbitmq.conf": f"default_user = {USER}\ndefault_pass = {self._endpoint.password}\n"
            "log.file.level = warning\n",
        }.items():
            private_file(home / name, text, self._account)
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(home),  # Holds the Erlang cookie.
            "LC_ALL": "C.UTF-8",
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(ports["amqp"]),
            "RABBITMQ_DIST_PORT": str(ports["dist"]),
            "ERL_EPMD_PORT": str(ports["epmd"]),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "env.conf"),
            "RABBITMQ_PID_FILE": str(home / "rabbitmq.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            # Every Erlang program would otherwise start an epmd daemon of its own where it finds none.
            "ERL_FLAGS": "-start_epmd false",
            # The script then becomes the node instead of minding it, so that signals and exit codes are the node's.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _port_was_taken(self) -> bool:
        return any(free_port(port) != port for port in self._endpoint.ports.values())

    def end_orphans(self) -> None:
        """End a node and an epmd that a killed run left behind here; the caller holds the folder's lock."""
        with contextlib.suppress(OSError, ValueError):
            for pid in map(int, (self.directory / "rabbitmq.pids").read_text().split()):
                words = command_line(pid)
                if alive(pid) and (str(self._home) in words or words[0].endswith("epmd")):
                    kill_session(pid)
        (self.directory / "rabbitmq.pids").unlink(missing_ok=True)
