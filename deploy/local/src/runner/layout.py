"""Where the local system keeps its files, which services it has, and that only one of it runs in a checkout."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testkit.embedded.place import state_dir


class LocalError(Exception):
    """The local system cannot start or be found; the text says what to do."""


@dataclass(frozen=True)
class Layout:
    """One checkout's places. `state` holds the servers' data, which for root lies outside the checkout."""

    root: Path

    @property
    def var(self) -> Path:
        """Everything generated that a person may look at; git ignores it."""
        return self.root / "var"

    @property
    def mail_dir(self) -> Path:
        """Where the sink keeps mails."""
        return self.var / "mail"

    @property
    def local_env(self) -> Path:
        """What other programs need to join in."""
        return self.var / "local.env"

    @property
    def secrets_env(self) -> Path:
        """The generated secrets."""
        return self.var / "secrets.env"

    @property
    def state(self) -> Path:
        """The embedded servers' data."""
        return state_dir(self.root) / "run"

    def services(self) -> list[str]:
        """The services that can be served, by the names of their folders."""
        found = (path.parent for path in self.root.glob("services/*/pyproject.toml"))
        return sorted(folder.name for folder in found if (folder / "src" / package_of(folder.name) / "app.py").exists())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold this checkout's lock. Raises: LocalError naming the process that holds it already."""
        self.var.mkdir(exist_ok=True)
        with (self.var / "run.lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read().strip()
                raise LocalError(f"already running here as process {holder}: stop that one first") from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield


def here() -> Layout:
    """The checkout that this file belongs to."""
    return Layout(Path(__file__).resolve().parents[4])


def package_of(service: str) -> str:
    """The Python package of a service: its snake case name."""
    return service.replace("-", "_")
