"""A test run that is ended from outside takes its servers with it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from testkit.embedded.place import state_dir
from testkit.embedded.process import alive

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
