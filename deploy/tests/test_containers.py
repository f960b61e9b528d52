"""compose.yaml, deploy/assemble.py, deploy/compose/secrets.sh: all services, confined, with no more than they need."""

import base64
import hashlib
import importlib
import importlib.metadata
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from chassis.settings import check_secret

ROOT = Path(__file__).parents[2]
SERVICES = sorted(path.parent.name for path in (ROOT / "services").glob("*/pyproject.toml"))
PUBLISHED = "gateway"
# Set by the image, or settled with the rest of the page: ports, who listens, how long a stop may take.
FIXED = {
    "HOST", "PORT", "METRICS_HOST", "METRICS_PORT", "ENVIRONMENT", "ROLE", "DRAIN_WAIT_S", "SHUTDOWN_GRACE_S",
}  # fmt: skip


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    yaml = importlib.import_module("yaml")  # it has no type information
    document: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return document


def test_each_service_has_one_block_and_the_gateway_knows_it(compose: dict[str, Any]) -> None:
    built = {block["build"]["args"]["SERVICE"]: name for name, block in compose["services"].items() if "build" in block}
    assert built == {name: name for name in ["gateway", "migrate", *SERVICES]}
    upstreams = {
        key: url
        for key, url in compose["services"]["gateway"]["environment"].items()
        if key.startswith("UPSTREAM_") and not url.startswith("$")
    }
    assert upstreams == {f"UPSTREAM_{name.upper().replace('-', '_')}": f"http://{name}:8080" for name in SERVICES}


def test_the_gateway_is_given_time_for_the_migrations_and_outlives_a_change_of_tenants(compose: dict[str, Any]) -> None:
    """It is ready only after tenants is: `up --wait` gave up on it beside a migration of 80 s."""
    gateway, tenants = compose["services"]["gateway"], compose["services"]["tenants"]
    assert "AMQP_URL" in gateway["environment"]
    assert tenants["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert _seconds(gateway["healthcheck"]["start_period"]) >= 180
    assert gateway["healthcheck"]["test"] == tenants["healthcheck"]["test"]
    assert "depends_on" not in gateway  # Compose recreates the dependent with what it depends on


def _seconds(text: str) -> int:
    return int(text.removesuffix("s"))


@pytest.mark.parametrize("service", ["gateway", *SERVICES])
def test_whatever_a_service_reads_can_be_given_in_the_env_file(compose: dict[str, Any], service: str) -> None:
    """A variable that the block does not pass on would be set in .env in vain; one that nobody reads does nothing."""
    kind = "GatewaySettings" if service == "gateway" else "Settings"
    settings = getattr(importlib.import_module(f"{service.replace('-', '_')}.settings"), kind)
    defaults = {field.name.upper(): field.default for field in msgspec.structs.fields(settings)}
    # The services' addresses have a test of their own.
    read = {name for name, default in defaults.items() if not (name.startswith("UPSTREAM_") and default is None)}
    given = {name for name in compose["services"][service]["environment"] if name in read or name not in defaults}
    assert given | FIXED == read | FIXED
    stop_s = _seconds(compose["services"][service]["stop_grace_period"])
    assert defaults["DRAIN_WAIT_S"] + defaults["SHUTDOWN_GRACE_S"] < stop_s


def test_every_container_is_confined(compose: dict[str, Any]) -> None:
    for name, block in compose["services"].items():
        assert block["read_only"] is True, name
        assert block["cap_drop"] == ["ALL"], name
        assert block["security_opt"] == ["no-new-privileges:true"], name
        assert {"mem_limit", "cpus", "pids_limit", "restart", "logging", "healthcheck"} <= block.keys(), name
        assert block.get("user", "0").split(":")[0] not in ("0", "root") or name == "broker", f"{name} runs as root"
        assert ("ports" in block) == (name == PUBLISHED), name
        assert "privileged" not in block, name
        assert "back" in block["networks"], name
    assert compose["networks"]["back"]["internal"] is True


def test_only_the_migrate_job_has_the_owner_of_the_database(compose: dict[str, Any]) -> None:
    knowing = {
        name for name, block in compose["services"].items() if "POSTGRES_PASSWORD" in str(block.get("environment"))
    }
    assert knowing == {"postgres", "migrate"}


def test_no_secret_has_a_default() -> None:
    text = (ROOT / "compose.yaml").read_text()
    secret = r"[A-Z_]*(?:SECRET|PASSWORD|PASSWORD_HASH|SECRETS_KEY|SIGNING_KEY|PUBLIC_KEY)"
    for use in re.findall(rf"\$\{{({secret})(:[-?])([^}}]*)\}}", text):
        # Without a provider's key there is nothing for its webhooks to be verified with: absent is a choice there.
        absent = use[0] in ("STRIPE_WEBHOOK_SECRET", "PIX_WEBHOOK_SECRET") and use[1:] == (":-", "")
        assert use[1] == ":?" or absent, f"{use[0]} must be given, not defaulted"


def _pins(service: str) -> dict[str, str]:
    out = subprocess.run(
        [sys.executable, str(ROOT / "deploy/assemble.py"), "pins", service, str(ROOT / "requirements.lock")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return {canonicalize_name(s.partition("==")[0]): s for s in re.split(r"\n(?=\S)", out)}


def _asked_by(name: str) -> list[str]:
    """What a member asks for in its pyproject.toml, or a package by the metadata of what is installed."""
    for project in (ROOT / "gateway", *(ROOT / "libs").iterdir(), *(ROOT / "services").iterdir()):
        if name == f"backoffice-{project.name}":
            found: list[str] = tomllib.loads((project / "pyproject.toml").read_text())["project"]["dependencies"]
            return found
    return importlib.metadata.requires(name) or []


def _closure(member: str) -> set[str]:
    """Everything that `member` needs on this machine."""
    seen: set[str] = set()
    todo: list[tuple[str, frozenset[str]]] = [(member, frozenset())]
    while todo:
        name, extras = todo.pop()
        seen.add(name)
        for wanted in map(Requirement, _asked_by(name)):
            if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras or {""}):
                found = canonicalize_name(wanted.name)
                if found not in seen:
                    todo.append((found, frozenset(wanted.extras)))
    return {name for name in seen if not name.startswith("backoffice-")}


@pytest.mark.parametrize("service", ["gateway", *SERVICES])
def test_an_image_gets_all_that_its_service_imports_and_no_tool_of_ours(service: str) -> None:
    pins = _pins(service)
    assert _closure(f"backoffice-{service}") <= pins.keys()
    assert not {"pytest", "mypy", "ruff", "hypothesis", "schemathesis", "testcontainers", "aiosmtpd"} & pins.keys()
    lock = (ROOT / "requirements.lock").read_text()
    for stanza in pins.values():
        assert "--hash=sha256:" in stanza
        assert stanza.strip() in lock


def test_an_image_holds_its_own_service_only() -> None:
    assert "aiosmtplib" in _pins("mailer")
    assert "aiosmtplib" not in _pins("gateway")
    assert "aiosmtplib" not in _pins("migrate")


def test_members_keep_the_layout_that_migrations_are_found_by(tmp_path: Path) -> None:
    def run(service: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            str(ROOT / "deploy/assemble.py"),
            "members",
            service,
            str(ROOT),
            str(tmp_path / service),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    paths = run("mailer").stdout.split()
    app = tmp_path / "mailer"
    assert paths == [
        str(app / part / "src") for part in ("libs/contracts", "libs/bus", "libs/chassis", "services/mailer")
    ]
    assert (app / "services/mailer/src/mailer/__init__.py").is_file()
    assert {path.name for path in (app / "services/mailer").iterdir()} <= {"src", "migrations"}
    assert not (app / "gateway").exists()
    assert run("gateway").stdout.split()[-1] == str(tmp_path / "gateway/gateway/src")
    run("migrate")
    assert sorted(path.name for path in (tmp_path / "migrate/services").iterdir()) == SERVICES
    unknown = run("nosuch")
    assert unknown.returncode == 1
    assert "no member" in unknown.stderr


def test_generated_secrets_are_fit_for_use_and_never_overwritten(tmp_path: Path) -> None:
    def run(name: str) -> subprocess.CompletedProcess[str]:
        command = [ROOT / "deploy/compose/secrets.sh", tmp_path / name]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})

    done = run("env")
    if shutil.which("openssl", path="/usr/bin:/bin") is None:  # the script's one requirement: it must say so
        assert (done.returncode, done.stderr) == (1, "openssl is needed\n")
        return
    assert done.returncode == 0, done.stderr
    path = tmp_path / "env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    values = dict(line.split("=", 1) for line in path.read_text().splitlines())
    for name in (
        "POSTGRES_PASSWORD",
        "DB_ROLE_SECRET",
        "AMQP_PASSWORD",
        "JWT_SECRET",
        "INTERNAL_SIGNING_KEY",
        "SECRETS_KEY",
    ):
        check_secret(values[name])
    asked = set(re.findall(r"\$\{([A-Z_]+):\?", (ROOT / "compose.yaml").read_text()))
    assert asked == values.keys()

    private = base64.urlsafe_b64decode(values["INTERNAL_SIGNING_KEY"] + "=")
    public = Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    assert base64.urlsafe_b64decode(values["INTERNAL_PUBLIC_KEY"] + "=") == public
    # https://lavinmq.com/documentation: base64 of a salt of four bytes, then SHA-256 of salt and password
    hashed = base64.b64decode(values["AMQP_PASSWORD_HASH"])
    assert hashed[4:] == hashlib.sha256(hashed[:4] + values["AMQP_PASSWORD"].encode()).digest()

    again = run("env")
    assert again.returncode == 1
    assert "exists" in again.stderr
    assert path.read_text() == "".join(f"{name}={value}\n" for name, value in values.items())
    run("other")
    same = set((tmp_path / "other").read_text().splitlines()) & set(path.read_text().splitlines())
    assert same == {"SENDER_EMAIL=no-reply@backoffice.example"}
