"""The demo tenant: who it is, how one signs in as it, and what it owns. Made through the gateway, like anybody's."""

import uuid
from dataclasses import dataclass

import httpx

from testkit.tokens import user_jwt

DEMO_TENANT_ID = uuid.UUID("de300000-0000-4000-8000-000000000001")
_LIFETIME_S = 30 * 86400
TEMPLATE = {
    "slug": "demo-welcome",
    "subject": "Welcome to {{ company }}, {{ name }}",
    "body_html": (
        "<h1>Hello {{ name }}</h1>\n<p>Your account at {{ company }} is ready.</p>\n"
        '<p><a href="{{ link }}">Sign in</a></p>\n'
    ),
    "variables": ["name", "company", "link"],
}


@dataclass(frozen=True)
class SignIns:
    """Tokens of people that the Go core would have signed in, good for 30 days."""

    owner: str
    platform_admin: str


def sign_ins(jwt_secret: str) -> SignIns:
    """The demo tenant's owner, and a platform administrator."""
    owner = user_jwt(jwt_secret, subject="demo-owner", tenant_id=DEMO_TENANT_ID, role="owner", lifetime_s=_LIFETIME_S)
    return SignIns(owner, user_jwt(jwt_secret, subject="local-admin", role="superadmin", lifetime_s=_LIFETIME_S))


async def seed(gateway_url: str, owner_token: str) -> None:
    """Give the demo tenant its mail template; nothing changes when it has it already.

    Raises: httpx.HTTPError when the gateway or the mailer does not answer as it should.
    """
    headers = {"Authorization": f"Bearer {owner_token}"}
    async with httpx.AsyncClient(base_url=gateway_url, headers=headers, timeout=20, trust_env=False) as client:
        cursor: str | None = None
        while True:
            query = {"cursor": cursor} if cursor else {}
            page = (await client.get("/api/email-templates", params=query)).raise_for_status().json()
            if any(row["slug"] == TEMPLATE["slug"] for row in page["data"]):
                return
            if not (cursor := page["next_cursor"]):
                break
        (await client.post("/api/email-templates", json=TEMPLATE)).raise_for_status()
