"""A test run that is ended from outside takes its servers with it."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from testkit.embedded.place import state_dir
from testkit.embedded.process import alive
from testkit.embedded.session import TemporaryServers

WAITS = """
import time
def test_waits(postgres_url):
    print("started", flush=True)
    time.sleep(60)
"""


def test_sigterm_ends_the_run_and_its_postgres(tmp_path: Path) -> None:
    (tmp_path / "test_waits.py").write_text(WAITS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-s",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert any("started" in line for line in run.stdout)
        place = state_dir(tmp_path) / "tests" / str(run.pid)
        (pid_file,) = place.glob("*/postgres-*/postmaster.pid")
        postmaster = int(pid_file.read_text().splitlines()[0])
        assert alive(postmaster)
        run.send_signal(signal.SIGTERM)
        run.stdout.read()
        assert run.wait(30) == 2, "pytest's code for an interrupted run"
    deadline = time.monotonic() + 5
    while alive(postmaster) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(postmaster)
    assert not place.exists()
    shutil.rmtree(state_dir(tmp_path))


def test_the_next_run_ends_what_a_killed_one_left(tmp_path: Path) -> None:
    start = "import os, sys, signal; from pathlib import Path; from testkit.embedded.session import TemporaryServers\n"
    start += "server = TemporaryServers(Path(sys.argv[1])).postgres('nested/name'); server.start()\n"
    start += "print(server.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    killed = subprocess.run([sys.executable, "-c", start, tmp_path], capture_output=True, text=True, check=False)
    postmaster = int(killed.stdout)
    assert alive(postmaster)
    TemporaryServers(tmp_path).close()
    assert not alive(postmaster)
    assert list((state_dir(tmp_path) / "tests").iterdir()) == []
    shutil.rmtree(state_dir(tmp_path))
