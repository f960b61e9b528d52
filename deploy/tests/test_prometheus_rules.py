"""The alarm rules read what a running service and a running gateway really export, by labels that these really have."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import yaml  # type: ignore[import-untyped]  # its stubs are not worth a dependency
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from chassis.serve import serve_apps
from gateway.app import build as build_gateway
from tenants.app import build as build_tenants
from testkit.embedded.process import free_port
from testkit.service import running
from testkit.tokens import Identities

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
SCRAPED = ROOT / "deploy" / "prometheus" / "prometheus.yaml"
#: What Prometheus itself adds to every sample.
ADDED = {"instance", "job"}
_WORDS = {"by", "sum", "rate", "increase", "histogram_quantile"}
_METRIC = re.compile(r"\b([a-z][a-z_]+)(?:\{([^}]*)\})?(?=\[|\{|\s|$|\))")


def exported_by(registry: CollectorRegistry) -> dict[str, dict[str, set[str]]]:
    """Each sample's name, and the values of its labels."""
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def metrics_in(expression: str) -> Iterable[tuple[str, dict[str, str]]]:
    """The metrics that an expression selects, each with the labels that it asks for."""
    plain = re.sub(r"\bby \([^)]*\)", "", expression)
    for name, selector in _METRIC.findall(plain):
        if name not in _WORDS:
            yield name, dict(re.findall(r'(\w+)="([^"]*)"', selector))


async def really_exported(
    service_env: Callable[..., Awaitable[dict[str, str]]], identities: Identities
) -> dict[str, dict[str, set[str]]]:
    """What a service exports after requests and a dead letter, and a gateway after an error of its own."""
    env = await service_env("tenants", JWT_SECRET=identities.jwt_secret, ROLE="api", SHUTDOWN_GRACE_S="3")
    app = build_tenants(env)
    async with running("tenants", app, identities) as tenants:
        assert (await tenants.http.get("/users")).status_code == 401
        assert (await tenants.call("GET", "/permissions", None, kind="platform_admin")).status_code < 500
        app.state.runtime.signals.dead("mail_queue")
        found = exported_by(app.state.served.registry)
    port = free_port()
    gateway = build_gateway(
        {
            "JWT_SECRET": identities.jwt_secret,
            "INTERNAL_SIGNING_KEY": identities.private_key,
            "PORT": str(port),
            "METRICS_PORT": str(free_port()),
            "DRAIN_WAIT_S": "0",
        }
    )
    stop, started = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serve_apps([gateway], stop=stop, on_started=started.set))
    await asyncio.wait_for(started.wait(), 10)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        assert (await http.get("/plans")).status_code == 503, "there is no service behind it"
    found |= exported_by(gateway.registry)
    stop.set()
    await task
    return found | {"up": {}}


async def test_every_rule_reads_what_is_exported(service_env: Any, identities: Identities) -> None:
    exported = await really_exported(service_env, identities)
    assert {"ServiceAway", "ErrorRate", "EdgeErrorRate", "SlowAnswers", "EdgeSlowAnswers"} <= {
        rule["alert"] for rule in rules()
    }
    for rule in rules():
        selected = list(metrics_in(rule["expr"]))
        assert selected, rule["alert"]
        shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        grouped = {name for names in re.findall(r"\bby \(([^)]*)\)", rule["expr"]) for name in names.split(", ")}
        for name, labels in selected:
            assert name in exported, (rule["alert"], name)
            known = set(exported[name]) | ADDED
            assert {*labels, *grouped, *shown} <= known, (rule["alert"], name)
            if grouped:
                assert shown <= grouped, (rule["alert"], "what is summed away cannot be shown")
            if "status" in labels:
                assert all(re.fullmatch(r"[1-5]xx|gone", value) for value in exported[name]["status"]), name
                assert re.fullmatch(r"[1-5]xx", labels["status"])
        assert rule["labels"]["severity"] in ("page", "ticket")
    assert "5xx" in exported["gateway_answers_total"]["status"]


def test_the_limits_are_what_was_promised() -> None:
    """A service away over 5 minutes, an error rate over 5 %, an answer over 5 s."""
    by_name = {rule["alert"]: rule for rule in rules()}
    assert (by_name["ServiceAway"]["for"], by_name["ServiceAway"]["expr"]) == ("5m", 'up{job="backoffice"} == 0')
    for name, limit in (("ErrorRate", 0.05), ("EdgeErrorRate", 0.05), ("SlowAnswers", 5), ("EdgeSlowAnswers", 5)):
        assert float(by_name[name]["expr"].rsplit(">", 1)[1]) == limit


async def test_the_slow_ones_can_be_told(service_env: Any, identities: Identities) -> None:
    """A bucket ends at 5 s and another one comes after it: else a quantile could not tell."""
    exported = await really_exported(service_env, identities)
    for name in ("http_server_request_duration_seconds_bucket", "gateway_request_duration_seconds_bucket"):
        bounds = {float(value) for value in exported[name]["le"]}
        assert 5.0 in bounds, name
        assert any(5.0 < bound < float("inf") for bound in bounds), name


def test_everything_is_scraped() -> None:
    [job] = yaml.safe_load(SCRAPED.read_text())["scrape_configs"]
    services = {path.parent.name for path in (ROOT / "services").glob("*/pyproject.toml")}
    targets = {target for group in job["static_configs"] for target in group["targets"]}
    assert targets == {f"{name}:9090" for name in (*services, "gateway")}
    assert job["job_name"] == "backoffice", "the rules' job"
    assert "METRICS_PORT=9090" in (ROOT / "deploy" / "Dockerfile").read_text()
