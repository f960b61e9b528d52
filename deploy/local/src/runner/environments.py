"""Decides what each program of the local system finds in its environment, and on which ports it listens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.layout import LocalError
from runner.parts import Parts
from testkit.embedded.process import LOOPBACK, free_port

GATEWAY_PORT = 3001
_FIRST_PORT, _FIRST_METRICS_PORT, _GATEWAY_METRICS_PORT = 3101, 4101, 4001
#: Only the gateway may hold these: with them a service could make itself anybody.
_GATEWAY_ONLY = ("JWT_SECRET", "JWT_SECRET_PREVIOUS", "INTERNAL_SIGNING_KEY")
#: The tenants service signs the tokens that people sign in for.
_SIGNS_TOKENS = ("tenants",)
_NOT_FOR_GATEWAY = ("DATABASE_URL", "DB_ROLE_SECRET", "SMTP_URL", "SECRETS_KEY", "SECRETS_KEY_PREVIOUS")


@dataclass(frozen=True)
class Program:
    """One thing to serve."""

    name: str
    package: str
    env: dict[str, str]


def gateway_port(env: Mapping[str, str]) -> int:
    """The gateway's port. Raises: LocalError naming PORT when it is no port or taken."""
    text = env.get("PORT") or str(GATEWAY_PORT)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise LocalError(f"PORT is {text!r}: it must be a number from 1 to 65535")
    if free_port(int(text)) != int(text):
        raise LocalError(f"PORT {text} is taken by another program: choose another one, as in `make run PORT=3002`")
    return int(text)


def programs(
    services: Sequence[str], parts: Parts, secrets: Mapping[str, str], port: int, env: Mapping[str, str]
) -> list[Program]:
    """The services and, last, the gateway, each with a whole environment; ports that are taken are replaced."""
    taken = {port}

    def settle(preferred: int) -> str:
        chosen = free_port(preferred)
        while chosen in taken:
            chosen = free_port()
        taken.add(chosen)
        return str(chosen)

    local = {"ENVIRONMENT": "local", "HOST": LOOPBACK, "METRICS_HOST": LOOPBACK}
    # Mail servers on this machine are the point here; elsewhere they would be a way into the private network.
    defaults = {"LOG_LEVEL": "warning", "DRAIN_WAIT_S": "0", "ALLOW_PRIVATE_SMTP": "true"}
    defaults["SENDER_EMAIL"] = "no-reply@backoffice.example"
    defaults["FRONTEND_URL"] = f"http://{LOOPBACK}:{port}"  # the gateway has a page for each link in a mail
    inherited = {**defaults, **{name: value for name, value in env.items() if value}, **secrets, **local}
    inherited.pop("ROLE", None)
    shared = {"DATABASE_URL": parts.database_url, "AMQP_URL": parts.amqp_url, "SMTP_URL": parts.smtp_url}
    found: list[Program] = []
    upstreams: dict[str, str] = {}
    for number, service in enumerate(services):
        own = {"PORT": settle(_FIRST_PORT + number), "METRICS_PORT": settle(_FIRST_METRICS_PORT + number)}
        hidden = [name for name in _GATEWAY_ONLY if not (service in _SIGNS_TOKENS and name.startswith("JWT_"))]
        found.append(Program(service, service.replace("-", "_"), _without(inherited | shared | own, hidden)))
        upstreams[f"UPSTREAM_{service.replace('-', '_').upper()}"] = f"http://{LOOPBACK}:{own['PORT']}"
    own = {"PORT": str(port), "METRICS_PORT": settle(_GATEWAY_METRICS_PORT)}
    found.append(Program("gateway", "gateway", _without(inherited | shared | upstreams | own, _NOT_FOR_GATEWAY)))
    return found


def _without(env: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in names}
