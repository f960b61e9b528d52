"""No password, token, code or secret of sign-in reaches a log line, an event or another mail than its own."""

import logging
from datetime import UTC, datetime
from typing import Any

import pyotp
import pytest

from chassis.logs import JsonFormatter
from chassis.settings import SettingsError
from tenants.app import build

from .sign_in_records import PASSWORD, an_owner, as_user, enable_factor, log_in, mails, public, token_in

NEW = "a quite new password"


async def test_nothing_leaks(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    tenants = await start(LOG_LEVEL="info")
    caplog.set_level(logging.INFO)
    user, tenant = await an_owner(tenants.db)
    secrets = [PASSWORD, NEW, "weak"]
    await public(tenants, "/auth/login", {"email": "ana@example.com", "password": "weak-canary-guess"})
    session = await log_in(tenants)
    again = (await public(tenants, "/auth/refresh", {"refreshToken": session["refreshToken"]})).json()["data"]
    secrets += [
        "weak-canary-guess",
        *(one[name] for one in (session, again) for name in ("accessToken", "refreshToken")),
    ]
    await public(tenants, "/auth/forgot-password", {"email": "ana@example.com"})
    link = token_in((await mails(tenants, "account_reset"))[-1])
    await public(tenants, f"/auth/reset-password/{link}", {"password": "weak"})
    await public(tenants, f"/auth/reset-password/{link}", {"password": NEW})
    await public(tenants, "/auth/register", {"email": "rui@example.com", "password": NEW, "name": "Rui"})
    confirm = token_in((await mails(tenants, "account_verify_email"))[-1])
    await public(tenants, f"/auth/verify-email/{confirm}", method="GET")
    authenticator, codes = await enable_factor(tenants, user, tenant)
    challenge = (await public(tenants, "/auth/login", {"email": "ana@example.com", "password": NEW})).json()["data"]
    await public(tenants, "/auth/2fa/verify", {"challengeToken": challenge["challengeToken"], "recoveryCode": codes[0]})
    code = pyotp.TOTP(authenticator.secret).at(datetime.now(UTC))
    body = {"password": NEW, "code": code}
    assert (await as_user(tenants, user, tenant.tenant_id, "POST", "/auth/2fa/disable", json=body)).status_code == 200
    secrets += [link, confirm, authenticator.secret, challenge["challengeToken"], *codes]
    logged = "\n".join(JsonFormatter().format(record) for record in caplog.records)
    assert logged.count("/auth/reset-password/***") == 2
    assert "/auth/verify-email/***" in logged
    told = str([event for event in await tenants.told() if event["_type"] != "mail_queue"])
    assert "password.reset" in told
    for secret in secrets:
        assert secret not in logged, secret
        assert secret not in told, secret
    for mail in await mails(tenants):
        variables = {name: value for name, value in mail["variables"].items() if name != "link"}
        assert not any(secret in str(variables) for secret in secrets)


async def test_there_is_no_account_that_nobody_made(start: Any) -> None:
    """Seed 001 signed in a pair that stood in its source."""
    tenants = await start()
    for email, password in (
        ("admin@example.com", "admin"),
        ("admin", "admin"),
        ("admin@admin.com", "admin123"),
        ("admin@backoffice.local", "backoffice"),
    ):
        assert (await public(tenants, "/auth/login", {"email": email, "password": password})).status_code == 401


@pytest.mark.parametrize("secret", ["", "brief", "your-secret-key"])
async def test_without_a_secret_of_its_own_it_does_not_start(service_env: Any, secret: str) -> None:
    """Seed 001 fell back to one that everybody could read."""
    env = await service_env("tenants", JWT_SECRET=secret, ENVIRONMENT="production")
    with pytest.raises(SettingsError) as refusal:
        build(env)
    assert "JWT_SECRET" in str(refusal.value)
    assert not secret or secret not in str(refusal.value)
