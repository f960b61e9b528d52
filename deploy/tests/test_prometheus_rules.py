"""The alarm rules: valid YAML, each with a limit and words, and no metric that nobody exports."""

import re
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # its stubs are not worth a dependency
from prometheus_client import generate_latest

from chassis.telemetry import Metrics

RULES = Path(__file__).parents[1] / "prometheus" / "rules.yaml"
_WORDS = {"by", "sum", "rate", "increase", "histogram_quantile", "instance", "le", "queue", "status", "job"}


def test_every_rule_reads_what_is_exported() -> None:
    metrics = Metrics(dict)
    metrics.requests.labels("GET", "/x", "5xx").observe(0.1)
    metrics.dead("mail_queue")
    exported = set(re.findall(r"^([a-z_]+)", generate_latest(metrics.registry).decode(), re.M)) | {"up"}
    groups = yaml.safe_load(RULES.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {"ServiceAway", "ErrorRate", "SlowAnswers"} <= {rule["alert"] for rule in rules}
    for rule in rules:
        plain = re.sub(r'"[^"]*"|\[[^\]]*\]', "", rule["expr"])
        named = set(re.findall(r"[a-z][a-z_]+", plain)) - _WORDS
        assert named <= exported, (rule["alert"], named - exported)
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("page", "ticket")
