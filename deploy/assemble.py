"""Lays out one service's image: the pins it needs of the shared lock, and the members it runs.

Runs inside the builder stage of deploy/Dockerfile, on the standard library alone:

    assemble.py pins SERVICE requirements.lock   the part of the lock that SERVICE needs, on standard output
    assemble.py members SERVICE SOURCE TARGET    copies the members of SERVICE and prints their import paths

SERVICE is a folder under services/, or `gateway`, or `migrate`: all services' migrations, no service's dependencies.
"""

import re
import shutil
import sys
from pathlib import Path

LIBS = ("contracts", "bus", "chassis")
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==")


def pins(service: str, lock: str) -> str:
    """The stanzas of `lock` that the image of `service` needs, hashes included.

    The lock says under each pin which packages asked for it ("# via"): the closure is what the members asked for, then
    what those asked for. What an extra of a development tool adds to a runtime package stays in: a superset is safe.
    """
    needed = {f"backoffice-{lib}" for lib in LIBS}
    if service != "migrate":
        needed.add(f"backoffice-{service}")
    stanzas = [stanza for stanza in re.split(r"\n(?=\S)", lock) if PIN.match(stanza)]
    asked_by = {
        _pinned(stanza): set(re.findall(r"^\s+#(?: via)?[ ]+([A-Za-z0-9._-]+)", stanza, re.M)) for stanza in stanzas
    }
    grew = True
    while grew:
        found = {name for name, parents in asked_by.items() if parents & needed}
        grew = not found <= needed
        needed |= found
    return "".join(f"{stanza.rstrip()}\n" for stanza in stanzas if _pinned(stanza) in needed)


def members(service: str, source: Path, target: Path) -> list[str]:
    """Copies sources and migrations to the same places under `target`; the import paths, one per member.

    Raises: SystemExit when there is no such service.
    """
    folders = [Path("libs") / lib for lib in LIBS]
    if service == "migrate":
        folders += sorted(
            path.relative_to(source) for path in (source / "services").iterdir() if (path / "src").is_dir()
        )
    else:
        folders.append(Path("gateway") if service == "gateway" else Path("services") / service)
    for folder in folders:
        if not (source / folder / "src").is_dir():
            raise SystemExit(f"assemble: no member at {folder}")
        for part in ("src", "migrations"):
            if (source / folder / part).is_dir():
                shutil.copytree(source / folder / part, target / folder / part)
    return [str(target / folder / "src") for folder in folders]


def _pinned(stanza: str) -> str:
    match = PIN.match(stanza)
    assert match
    return match[1].lower()


def main(arguments: list[str]) -> None:
    """Runs one of the two commands. Raises: SystemExit on a wrong command line."""
    match arguments:
        case ["pins", service, lock]:
            sys.stdout.write(pins(service, Path(lock).read_text()))
        case ["members", service, source, target]:
            sys.stdout.write("\n".join(members(service, Path(source), Path(target))) + "\n")
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
