"""Reads and writes files of KEY=value lines that shells can source and that nobody else can read."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path


def read_env(path: Path) -> dict[str, str]:
    """The variables in the file; none when it does not exist."""
    if not path.exists():
        return {}
    pairs = (line.partition("=") for line in path.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {name: "".join(shlex.split(value)) for name, _, value in pairs}


def write_env(path: Path, variables: Mapping[str, str], *, comment: str) -> None:
    """Replace the file in one step; mode 0600 from the first byte on."""
    lines = [f"# {comment}", *(f"{name}={shlex.quote(value)}" for name, value in variables.items())]
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("\n".join(lines) + "\n")
    unfinished.rename(path)
