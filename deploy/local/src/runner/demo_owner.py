"""The demo's owner came as anybody would: they bought a plan, got a welcome mail, and chose a password.

So the first start plays the whole journey once, on the fakes of the providers, and there is somebody to sign in as.
"""

import asyncio
import email
import email.policy
import re
import secrets
import time
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import httpx

from runner.env_file import read_env, write_env

EMAIL = "owner@demo.example.com"
_LINK = re.compile(r"token=([A-Za-z0-9_\-]{20,})")
_PATIENCE_S = 25.0


@dataclass(frozen=True)
class DemoOwner:
    """Who can sign in."""

    email: str
    password: str


async def demo_owner(gateway_url: str, *, mail_dir: Path, kept: Path) -> DemoOwner | None:
    """The demo's owner, signed up now or at an earlier start; None where that did not work out in time.

    Needs the fake Stripe's page and the mail sink. Raises httpx.HTTPError when the gateway does not answer.
    """
    async with httpx.AsyncClient(base_url=gateway_url, timeout=20, trust_env=False) as client:
        known = read_env(kept)
        if known:
            owner = DemoOwner(known["DEMO_EMAIL"], known["DEMO_PASSWORD"])
            body = {"email": owner.email, "password": owner.password}
            if (await client.post("/api/auth/login", json=body)).status_code == 200:
                return owner
        owner = DemoOwner(f"owner-{secrets.token_hex(3)}@demo.example.com" if known else EMAIL, _password())
        began = time.time()
        wanted = {"planId": "profissional", "userEmail": owner.email, "userName": "Demo", "countryCode": "US"}
        page = await client.post("/api/payments/intent", json=wanted)
        if page.status_code != 200:
            return None
        await client.post(page.json()["url"], data={"action": "pay:card", "name": "Demo"})
        token = await _token_in_mail(mail_dir, owner.email, since=began)
        if token is None:
            return None
        chosen = await client.post("/api/auth/reset-password", json={"token": token, "password": owner.password})
        if chosen.status_code != 200:
            return None
    variables = {"DEMO_EMAIL": owner.email, "DEMO_PASSWORD": owner.password}
    write_env(kept, variables, comment="Who `make run` made, to sign in as.")
    return owner


async def _token_in_mail(mail_dir: Path, to: str, *, since: float) -> str | None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        for path in _newest_first(mail_dir):
            if path.stat().st_mtime < since - 1:
                break
            message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            if to not in str(message["X-Envelope-To"]) or not isinstance(message, EmailMessage):
                continue
            body = message.get_body(("html", "plain"))
            found = _LINK.search(body.get_content()) if body is not None else None
            if found is not None:
                return found.group(1)
        await asyncio.sleep(0.2)
    return None


def _password() -> str:
    return f"demo-{secrets.token_urlsafe(9)}"


def _newest_first(mail_dir: Path) -> list[Path]:
    return sorted(mail_dir.glob("*.eml"), reverse=True)
