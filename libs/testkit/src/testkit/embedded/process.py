"""Owns child servers: started as another user, in their own session, waited for, and ended in a bounded time."""

import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from testkit.embedded.place import Account

LOOPBACK = "127.0.0.1"
#: Below those that Linux draws for outgoing connections: one of them may take a server's port while the server is
#: restarted, and a client that looks for the server then may even find itself there.
PORTS = range(10_240, 32_768)


class EmbeddedError(Exception):
    """An embedded part cannot be had or did not start; the text says what to do about it."""


def free_port(preferred: int | None = None) -> int:
    """A loopback TCP port nobody listens on: the preferred one when it is free.

    Another program may take it before the caller does: whoever starts a server on it tries again.
    """
    drawn = random.SystemRandom().sample(PORTS, 50)  # not seeded, or two runs would draw the same
    for port in (preferred, *drawn, 0) if preferred else (*drawn, 0):
        with socket.socket() as probe:
            # As servers do: a port with connections in TIME_WAIT counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise EmbeddedError("no free TCP port on the loopback interface")


def spawn(
    command: Sequence[str | Path], *, account: Account | None, env: Mapping[str, str], cwd: Path, log: Path
) -> subprocess.Popen[bytes]:
    """Start a server in its own session, so that a terminal's Ctrl-C reaches only us and we stop it in order."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )


def wait_for(
    answers: Callable[[], bool],
    process: subprocess.Popen[bytes] | None,
    *,
    what: str,
    log: Path,
    timeout_s: float,
    given_up: threading.Event,
) -> None:
    """Return once `answers` is true.

    Raises: EmbeddedError with the end of the log when the process ended or the time is up, or when another thread set
    `given_up`.
    """
    deadline = time.monotonic() + timeout_s
    while not answers():
        if given_up.is_set():
            raise EmbeddedError(f"{what} was stopped while it started")
        if process is not None and process.poll() is not None:
            raise EmbeddedError(f"{what} ended with code {process.returncode}; the end of {log}:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise EmbeddedError(f"{what} did not answer within {timeout_s:g} s; the end of {log}:\n{tail(log)}")
        time.sleep(0.03)


def end(process: subprocess.Popen[bytes], signals: Sequence[tuple[signal.Signals, float]]) -> None:
    """Send each signal and wait its seconds until the process has ended, then kill its whole session."""
    for number, patience_s in signals:
        if process.poll() is not None:
            break
        process.send_signal(number)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
    kill_session(process.pid)
    process.wait()


def kill_session(leader_pid: int) -> None:
    """SIGKILL every process of the group that `leader_pid` leads; nothing happens when there is none."""
    try:
        os.killpg(leader_pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def alive(pid: int) -> bool:
    """Whether a process with this id runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return not Path("/proc/self/stat").exists()
    return state not in ("Z", "X")


def command_line(pid: int) -> list[str]:
    """The arguments a running process was started with; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, for an error that a person will read."""
    if not log.exists():
        return "(empty)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) or "(empty)"
