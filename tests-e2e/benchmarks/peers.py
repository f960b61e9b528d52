"""The gateway's peers, nginx and haproxy from Debian, and the client wrk: started privately, never as system units."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "wrk": "wrk"}
SERVER_CORE, LOAD_CORE = 0, 1

#: What the upstream answers to every request: a page of the delivery log, as a client would see it.
ANSWER = '{"data":[{"id":"0192d3a0-7c3f-7a50-9f2e-7a2f0e3f8a11","status":"sent"}],"next_cursor":null}'

_UPSTREAM = """
daemon off; worker_processes 1; user root; pid {dir}/upstream.pid; error_log {dir}/upstream.log crit;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  server {{ listen 127.0.0.1:{upstream} backlog=1024;
    location / {{ default_type application/json; return 200 '{answer}'; }} }} }}
"""

_NGINX = """
daemon off; worker_processes 1; user root; pid {dir}/nginx.pid; error_log {dir}/nginx.log crit;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  upstream app {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port} backlog=1024;
    location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }} }} }}
"""

_HAPROXY = """
global
  nbthread 1
  maxconn 2000
defaults
  mode http
  timeout client 600s
  timeout server 600s
  timeout connect 1s
  http-reuse always
frontend edge
  bind 127.0.0.1:{port}
  http-request set-var(txn.token) http_auth_bearer
  http-request set-var(txn.alg) var(txn.token),jwt_header_query('$.alg')
  http-request deny deny_status 401 unless {{ var(txn.alg) -m str HS256 }}
  http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify(txn.alg,"{secret}") -m int 1 }}
  default_backend app
backend app
  server upstream 127.0.0.1:{upstream} maxconn 64
"""


class PeerMissing(Exception):
    """A peer is not installed and cannot be installed here."""


def install_peers() -> None:
    """Install the absent peers from Debian; their system units are neither started nor enabled. Raises PeerMissing."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    absent = [program for program in PACKAGES if shutil.which(program) is None]
    if not absent:
        return
    packages = [PACKAGES[program] for program in absent]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise PeerMissing(f"not installed: {', '.join(absent)}; as root: apt-get install {' '.join(packages)}")
    policy = Path("/usr/sbin/policy-rc.d")  # Debian's switch against starting a service on installation
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "stdout": subprocess.DEVNULL}
        subprocess.run(["apt-get", "update", "-q"], check=False, **quiet)  # type: ignore[call-overload]
        print(f"installing {' '.join(packages)} ...", flush=True)
        command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
        if subprocess.run(command, check=False, **quiet).returncode != 0:  # type: ignore[call-overload]
            raise PeerMissing(f"apt-get could not install {' '.join(packages)}")
        if shutil.which("systemctl"):
            subprocess.run(["systemctl", "disable", "-q", "nginx", "haproxy"], check=False, capture_output=True)
    finally:
        if ours:
            policy.unlink()


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """The command, bound to one core where the machine has several."""
    if (os.cpu_count() or 1) < 2 or shutil.which("taskset") is None:
        return list(command)
    return ["taskset", "-c", str(core), *command]


@contextmanager
def running(
    command: Sequence[str], *, log: Path, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A child in its own session, its output in `log`; stopped by SIGTERM, then SIGKILL, on leaving."""
    with log.open("ab") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, env=env, start_new_session=True)
    try:
        yield child
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if child.poll() is None:
                os.killpg(child.pid, sign)
                try:
                    child.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    continue


def wait_answer(
    url: str, *, headers: dict[str, str], child: subprocess.Popen[bytes], log: Path, timeout_s: float = 30
) -> None:
    """Return when `url` answers 200. Raises RuntimeError with the end of the log when it does not in time."""
    deadline = time.monotonic() + timeout_s
    last = "no answer"
    while time.monotonic() < deadline and child.poll() is None:
        try:
            answer = httpx.get(url, headers=headers, timeout=2)
            if answer.status_code == 200:
                return
            last = f"{answer.status_code} {answer.text[:200]}"
        except httpx.HTTPError as error:
            last = repr(error)
        time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer 200 ({last}); its log ends:\n{log.read_text(errors='replace')[-2000:]}")


@contextmanager
def nginx(directory: Path, name: str, config: str) -> Iterator[subprocess.Popen[bytes]]:
    path = directory / f"{name}.conf"
    path.write_text(config)
    core = LOAD_CORE if name == "upstream" else SERVER_CORE
    command = ["nginx", "-p", str(directory), "-e", str(directory / f"{name}.log"), "-c", str(path)]
    with running(pinned(core, command), log=directory / f"{name}.out") as child:
        yield child


@contextmanager
def upstream(directory: Path, *, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The trivial fast upstream that all three proxies share, on the load's core."""
    with nginx(directory, "upstream", _UPSTREAM.format(dir=directory, upstream=port, answer=ANSWER)) as child:
        yield child


@contextmanager
def nginx_proxy(directory: Path, *, port: int, upstream_port: int) -> Iterator[subprocess.Popen[bytes]]:
    """nginx as a plain proxy: no token is looked at."""
    with nginx(directory, "nginx", _NGINX.format(dir=directory, port=port, upstream=upstream_port)) as child:
        yield child


@contextmanager
def haproxy_proxy(directory: Path, *, port: int, upstream_port: int, secret: str) -> Iterator[subprocess.Popen[bytes]]:
    """haproxy that verifies each HS256 token with jwt_verify."""
    path = directory / "haproxy.cfg"
    path.write_text(_HAPROXY.format(port=port, upstream=upstream_port, secret=secret))
    with running(pinned(SERVER_CORE, ["haproxy", "-db", "-f", str(path)]), log=directory / "haproxy.out") as child:
        yield child


def status_of(url: str, headers: dict[str, str]) -> int:
    """The status of one GET."""
    return httpx.get(url, headers=headers, timeout=5).status_code
