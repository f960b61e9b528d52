"""Owns servers that live as long as one test run: started on first use, removed at its end or by the next run."""

import os
import shutil
from pathlib import Path
from typing import Any

from testkit.embedded.broker import EmbeddedBroker, embedded_broker
from testkit.embedded.containers import POSTGRES_IMAGE, docker_answers
from testkit.embedded.place import open_dir, state_dir
from testkit.embedded.postgres import EmbeddedPostgres
from testkit.embedded.process import EmbeddedError, alive


class TemporaryServers:
    """The Postgres and the broker of one process under `<state>/tests/<pid>`; nothing of it outlives `close`."""

    def __init__(self, checkout: Path) -> None:
        self._root = state_dir(checkout) / "tests"
        self.directory = self._root / str(os.getpid())
        self._brokers: list[EmbeddedBroker] = []
        self._clusters: list[EmbeddedPostgres] = []
        self._containers: list[Any] = []
        self._reap()

    def postgres(self, name: str = "postgres") -> EmbeddedPostgres:
        """A new cluster, not started; safe against kill -9, not against power loss."""
        cluster = EmbeddedPostgres(open_dir(self.directory / name), durable=False)
        self._clusters.append(cluster)
        return cluster

    def broker(self, name: str = "broker") -> EmbeddedBroker:
        """A new broker, not started. Raises: EmbeddedError when the machine has none."""
        broker = embedded_broker(open_dir(self.directory / name))
        self._brokers.append(broker)
        return broker

    def postgres_url(self) -> str:
        """A started server for the whole run: embedded, else a container. Raises: EmbeddedError naming the choices."""
        try:
            return self.postgres("shared-postgres").start()
        except EmbeddedError:
            if not docker_answers():
                raise
        # Its helper container wants the engine's socket; we stop our own. Slow to import, and needed on few machines.
        os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
        from testcontainers.community.postgres import PostgresContainer

        container = PostgresContainer(POSTGRES_IMAGE, driver=None)
        self._containers.append(container)
        container.start()
        return str(container.get_connection_url())

    def close(self) -> None:
        """Stop and delete everything."""
        for broker in self._brokers:
            broker.crash()
            broker.wipe()
        for cluster in self._clusters:
            cluster.crash()
        for container in self._containers:
            container.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _reap(self) -> None:
        """End and delete what runs that were killed could not."""
        for leftover in self._root.glob("[0-9]*"):
            if alive(int(leftover.name)):
                continue
            # By what marks a server's folder, wherever it was put: a name may hold a path.
            for place in {path.parent for path in leftover.rglob("postgres.password")}:
                EmbeddedPostgres(place).end_orphans()
            for place in {path.parent for path in leftover.rglob("broker.json")}:
                try:
                    embedded_broker(place).end_orphans()
                except EmbeddedError:
                    continue
            shutil.rmtree(leftover, ignore_errors=True)
