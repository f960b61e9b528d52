"""How much memory the Python processes hold when idle: `make run` as it is, and nine services in one process."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from stack import LOOPBACK, Secrets, free_port, gateway_environment, migrated, service_environment

from benchmarks import peers
from benchmarks.report import Figure, Section
from runner.layout import Layout
from testkit.embedded.place import open_dir
from testkit.embedded.session import TemporaryServers

SERVICES = 9
BAR_MB = 150.0
SETTLE_S = 5.0
ROOT = Path(__file__).resolve().parents[2]


def measure(directory: Path) -> Section:
    """Start each, wait until it is ready and at rest, add up its Python processes."""
    servers = TemporaryServers(ROOT)
    try:
        product_mb = _product(servers, directory)
        print(f"  make run: {product_mb:.1f} MB", flush=True)
        nine_mb = _nine(servers, directory)
    finally:
        servers.close()
    return Section(
        "memory: PSS of idle Python processes",
        figures=(
            Figure(f"make run: gateway, {', '.join(Layout(ROOT).services())}, one process", product_mb, "MB"),
            Figure(f"gateway and {SERVICES} services like the mailer, one process", nine_mb, "MB", at_most=BAR_MB),
        ),
        notes=("the nine are the mailer nine times, each with its own port, pools, consumers and registry",),
    )


def _product(servers: TemporaryServers, directory: Path) -> float:
    """The runner itself, in a root folder of its own that only shares the services' sources."""
    root = open_dir(servers.directory / "product")
    (root / "services").symlink_to(ROOT / "services")
    (root / "var").mkdir()
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PORT": str(port)}
    command = [sys.executable, str(Path(__file__).with_name("run_product.py")), str(root)]
    log = directory / "run.out"
    with peers.running(command, log=log, env=environment) as child:
        peers.wait_answer(f"http://{LOOPBACK}:{port}/health/ready", headers={}, child=child, log=log, timeout_s=120)
        time.sleep(SETTLE_S)
        measured = python_pss_mb(child.pid)
    shutil.rmtree(root, ignore_errors=True)
    return measured


def _nine(servers: TemporaryServers, directory: Path) -> float:
    database_url = servers.postgres("memory-postgres").start()
    amqp_url = servers.broker("memory-broker").start()
    made = Secrets()
    asyncio.run(migrated("mailer", owner_url=database_url, made=made))
    programs: list[tuple[str, dict[str, str]]] = [
        ("mailer", service_environment(port=free_port(), database_url=database_url, amqp_url=amqp_url, made=made))
        for _ in range(SERVICES)
    ]
    upstreams = {"mailer": f"http://{LOOPBACK}:{programs[0][1]['PORT']}"}
    programs.append(("gateway", gateway_environment(port=free_port(), made=made, upstreams=upstreams)))
    with (directory / "nine.out").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("idle_services.py"))],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    assert child.stdin is not None
    try:
        child.stdin.write(json.dumps(programs).encode())
        child.stdin.close()
        for _, environment in programs:
            peers.wait_answer(
                f"http://{LOOPBACK}:{environment['PORT']}/health/ready",
                headers={},
                child=child,
                log=directory / "nine.out",
                timeout_s=60,
            )
        time.sleep(SETTLE_S)
        return python_pss_mb(child.pid)
    finally:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()


def python_pss_mb(pid: int) -> float:
    """The proportional set size of this process and its Python descendants."""
    total = 0
    for one in _tree(pid):
        if "python" in Path(f"/proc/{one}/exe").readlink().name:
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _tree(int(child))
