"""Billing starts, says that it is ready, and refuses an environment that it could be cheated in."""

from typing import Any

import pytest

from billing.app import build
from chassis.settings import SettingsError
from testkit.plugin import ServiceEnv


async def test_it_becomes_ready(start: Any) -> None:
    billing = await start()
    answer = await billing.http.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready"), answer.text


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"STRIPE_SECRET_KEY": "sk_test_a1b2c3d4e5f6g7h8i9j0k1l2m3n4"}, "STRIPE_WEBHOOK_SECRET"),
        ({"ASAAS_API_KEY": "aact_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5"}, "ASAAS_WEBHOOK_TOKEN"),
        ({"DUNNING_DAYS": "7,3"}, "DUNNING_DAYS"),
        ({"REFUND_ALERT_DAYS": "0"}, "REFUND_ALERT_DAYS"),
        ({"ASAAS_API_KEY": "aact_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5", "ASAAS_WEBHOOK_TOKEN": " , "}, "ASAAS_WEBHOOK_TOKEN"),
        ({"PUBLIC_URL": "ftp://x"}, "PUBLIC_URL"),
    ],
)
async def test_it_refuses_to_start(
    service_env: ServiceEnv, amqp_url: str, overrides: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        build(await service_env("billing", **overrides))
