"""Each program gets its own ports and no secret that it has no use for."""

import socket

import pytest

from runner.environments import gateway_port, programs
from runner.layout import LocalError
from runner.parts import Parts

PARTS = Parts("postgresql://o@h/db", "amqp://u:p@h/", "smtp://h:25")
SECRETS = {"JWT_SECRET": "j", "INTERNAL_SIGNING_KEY": "s", "INTERNAL_PUBLIC_KEY": "p", "SECRETS_KEY": "k"}


def test_only_the_gateway_can_sign_and_only_services_reach_the_data() -> None:
    *services, gateway = programs(["admin-analytics", "mailer"], PARTS, SECRETS, 3001, {"ROLE": "worker"})
    assert gateway.name == "gateway"
    for service in services:
        assert service.env["DATABASE_URL"] == PARTS.database_url
        assert not {"JWT_SECRET", "INTERNAL_SIGNING_KEY", "ROLE"} & service.env.keys()
    assert not {"DATABASE_URL", "SECRETS_KEY", "DB_ROLE_SECRET"} & gateway.env.keys()
    assert services[0].package == "admin_analytics"
    assert gateway.env["UPSTREAM_ADMIN_ANALYTICS"] == f"http://127.0.0.1:{services[0].env['PORT']}"


def test_the_tenants_service_signs_tokens_and_nothing_else() -> None:
    tenants, _ = programs(["tenants"], PARTS, SECRETS, 3001, {})
    assert tenants.env["JWT_SECRET"] == "j"
    assert "INTERNAL_SIGNING_KEY" not in tenants.env


def test_links_in_mails_lead_to_the_gateway_until_a_front_end_is_named() -> None:
    for env, expected in (({}, "http://127.0.0.1:4001"), ({"FRONTEND_URL": "https://a.example"}, "https://a.example")):
        tenants, _ = programs(["tenants"], PARTS, SECRETS, 4001, env)
        assert tenants.env["FRONTEND_URL"] == expected


def test_no_port_is_used_twice_and_taken_ones_are_left_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        found = programs(["a", "b", "c"], PARTS, SECRETS, taken, {})
    ports = [program.env[name] for program in found for name in ("PORT", "METRICS_PORT")]
    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize("wrong", ["0", "65536", "http", "-1"])
def test_a_port_that_is_none_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(LocalError, match="PORT"):
        gateway_port({"PORT": wrong})


def test_a_taken_port_is_refused_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(LocalError, match=f"PORT {port} is taken"):
            gateway_port({"PORT": str(port)})
    assert gateway_port({"PORT": str(port)}) == port
