"""Owns where embedded parts keep their files and under which unprivileged user they run."""

import contextlib
import hashlib
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT_STATE_DIR = Path("/var/lib/backoffice")
ACCOUNT_NAME = "backoffice"


@dataclass(frozen=True)
class Account:
    """A system user that servers run as when we are root; Postgres and RabbitMQ refuse to serve as root."""

    name: str
    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """The user servers must be started as; None when we are not root and start them as ourselves.

    As root the system user `backoffice` is made once; where that is impossible, `nobody` serves.
    """
    if os.geteuid() != 0:
        return None
    if _account(ACCOUNT_NAME) is None and (useradd := shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin")):
        # Two checkouts may race to make it: the loser's failure is harmless, the look-up below decides.
        identity = ["--system", "--user-group", "--shell", "/usr/sbin/nologin", ACCOUNT_NAME]
        subprocess.run(
            [useradd, "--no-create-home", "--home-dir", str(ROOT_STATE_DIR), *identity],
            check=False,
            capture_output=True,
        )
    return _account(ACCOUNT_NAME) or _account("nobody")


def _account(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(name, entry.pw_uid, entry.pw_gid)


def state_dir(checkout: Path) -> Path:
    """Where this checkout's servers keep data: `var/`, or for root a folder that the unprivileged user can open.

    Root's folder is keyed by the checkout's path, so two checkouts never share a server.
    """
    checkout = checkout.resolve()
    if os.geteuid() != 0:
        return checkout / "var"
    return ROOT_STATE_DIR / hashlib.sha256(str(checkout).encode()).hexdigest()[:12]


def open_dir(path: Path) -> Path:
    """Make `path` with parents that other users may pass through (root), or private to us (not root)."""
    for folder in [*reversed(path.parents), path]:
        if not folder.exists():
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o755)
    return path


def private_dir(path: Path, account: Account | None) -> Path:
    """Make `path` readable by the server's user alone."""
    open_dir(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    path.chmod(0o700)
    if account is not None:
        os.chown(path, account.uid, account.gid)
    return path


def private_file(path: Path, text: str, account: Account | None = None) -> Path:
    """Write a file that only its owner can read; it is never readable by others, not even while written."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    if account is not None:
        os.chown(path, account.uid, account.gid)
    return path
