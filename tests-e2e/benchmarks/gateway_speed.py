"""The gateway beside nginx (plain) and haproxy (jwt_verify): proxied GETs, rotating HS256 tokens, 64 connections."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import jwt
from stack import Secrets, free_port, gateway_environment

from benchmarks import peers
from benchmarks.report import Ratio, Round, Section, Series, interleave

CONNECTIONS = 64
TOKENS = 1000
LUA = Path(__file__).with_name("rotating_tokens.lua")


def mint_tokens(secret: str) -> list[str]:
    """As many different users as tokens, each allowed to read its tenant's e-mails."""
    now = int(time.time())
    return [
        jwt.encode(
            {"sub": str(uuid4()), "tenant_id": str(uuid4()), "role": "admin", "iat": now, "exp": now + 7200},
            secret,
            algorithm="HS256",
        )
        for _ in range(TOKENS)
    ]


def wrk(url: str, tokens_file: Path, *, seconds: float) -> Round:
    """One run of the client. Raises RuntimeError when an answer was not 2xx or a connection failed."""
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{int(seconds)}s",
        "--latency",
        "-s",
        str(LUA),
        url,
        "--",
        str(tokens_file),
    ]
    ran = subprocess.run(peers.pinned(peers.LOAD_CORE, command), capture_output=True, text=True, check=True)
    result = json.loads(ran.stdout.strip().splitlines()[-1])
    if result["bad_statuses"] or result["socket_errors"]:
        raise RuntimeError(f"{url}: not all answers were 2xx: {result}")
    per_s = result["requests"] / (result["duration_us"] / 1e6)
    return Round(per_s, p50_ms=result["p50_ms"], p99_ms=result["p99_ms"])


def measure(directory: Path, *, rounds: int, seconds: float) -> Section:
    """Start upstream and the three proxies, warm them, measure them in turns. Raises PeerMissing, RuntimeError."""
    peers.install_peers()
    made = Secrets()
    tokens = mint_tokens(made.jwt)
    tokens_file = directory / "tokens.txt"
    tokens_file.write_text("\n".join(tokens) + "\n")
    upstream_port, nginx_port, haproxy_port, gateway_port = (free_port() for _ in range(4))
    bearer = {"Authorization": f"Bearer {tokens[0]}"}
    gateway_log = directory / "gateway.out"
    upstreams = {"mailer": f"http://127.0.0.1:{upstream_port}"}
    environment = os.environ | gateway_environment(port=gateway_port, made=made, upstreams=upstreams)
    with ExitStack() as children:
        children.enter_context(peers.upstream(directory, port=upstream_port))
        nginx = children.enter_context(peers.nginx_proxy(directory, port=nginx_port, upstream_port=upstream_port))
        haproxy = children.enter_context(
            peers.haproxy_proxy(directory, port=haproxy_port, upstream_port=upstream_port, secret=made.jwt)
        )
        serve = peers.pinned(peers.SERVER_CORE, [sys.executable, "-m", "chassis", "serve", "gateway"])
        gateway = children.enter_context(peers.running(serve, log=gateway_log, env=environment))

        contestants: list[tuple[Series, Callable[[], Round]]] = []
        for name, port, child, log in (
            ("nginx, plain proxy", nginx_port, nginx, directory / "nginx.out"),
            ("haproxy, jwt_verify", haproxy_port, haproxy, directory / "haproxy.out"),
            ("our gateway", gateway_port, gateway, gateway_log),
        ):
            url = f"http://127.0.0.1:{port}/emails"
            peers.wait_answer(url, headers=bearer, child=child, log=log)
            wrk(url, tokens_file, seconds=1)

            def one(url: str = url) -> Round:
                return wrk(url, tokens_file, seconds=seconds)

            contestants.append((Series(name, "req/s"), one))
        _refuses_forged(f"http://127.0.0.1:{gateway_port}/emails", f"http://127.0.0.1:{haproxy_port}/emails", tokens[0])
        interleave(contestants, rounds=rounds)

    plain, verified, ours = (series for series, _ in contestants)
    return Section(
        f"gateway: proxied GET, {TOKENS} rotating HS256 tokens, {CONNECTIONS} connections; server alone on one core,"
        " wrk and the upstream on the other",
        series=(plain, verified, ours),
        ratios=(
            Ratio("gateway / nginx plain", ours, plain, at_least=0.25),
            Ratio("gateway / haproxy jwt_verify", ours, verified, at_least=0.35),
        ),
        notes=("nginx looks at no token; haproxy verifies each; all three share one nginx upstream over TCP",),
    )


def _refuses_forged(gateway: str, haproxy: str, token: str) -> None:
    """A proxy that lets anything pass would be measured for nothing."""
    forged = token[:-6] + ("AAAAAA" if token[-6:] != "AAAAAA" else "BBBBBB")
    for url in (gateway, haproxy):
        status = peers.status_of(url, {"Authorization": f"Bearer {forged}"})
        if status != 401:
            raise RuntimeError(f"{url} answers {status} to a forged token")
