"""The main job, end to end: the Go core publishes, a rendered mail arrives over SMTP, its tenant alone sees it."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from typing import Any

import aio_pika
import httpx
import pytest
import pytest_asyncio
from faults.rig import Rig

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATIENCE_S = 20.0


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    """A client without any credentials."""
    async with httpx.AsyncClient(base_url=rig.gateway.url, timeout=15, trust_env=False) as client:
        yield client


async def publish_as_core(rig: Rig, job: dict[str, Any] | bytes, *, message_id: str | None = None) -> None:
    """A plain AMQP client: the default exchange, a persistent message, a confirm; nothing of this product's code."""
    connection = await aio_pika.connect(rig.broker.url)
    async with connection:
        channel = await connection.channel()
        await channel.declare_queue("mail_queue", passive=True)
        body = job if isinstance(job, bytes) else json.dumps(job).encode()
        message = aio_pika.Message(body, message_id=message_id, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "mail_queue")


async def arrived(rig: Rig, to: str, *, count: int = 1) -> list[EmailMessage]:
    """The mails that the SMTP server accepted for this recipient, once there are so many."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        raws = [one.raw for one in rig.smtp.accepted if to in one.recipients]
        if len(raws) >= count or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.05)
    assert len(raws) == count, f"{len(raws)} mails to {to}: {rig.mailer.log_tail(600)}"
    mails = [message_from_bytes(raw, policy=modern) for raw in raws]
    assert all(isinstance(mail, EmailMessage) for mail in mails)
    return [mail for mail in mails if isinstance(mail, EmailMessage)]


async def logged(
    gateway: httpx.AsyncClient, to: str, headers: dict[str, str], *, status: str = "sent"
) -> dict[str, Any]:
    """The delivery log's entry of this recipient, once it has this status."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        answer = await gateway.get("/emails", params={"to": to}, headers=headers)
        assert answer.status_code == 200, answer.text
        rows = answer.json()["data"]
        if (rows and rows[0]["status"] == status) or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.1)
    assert [row["status"] for row in rows] == [status], rows
    found: dict[str, Any] = rows[0]
    return found


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def address() -> str:
    return f"{uuid.uuid4().hex}@journey.example.org"


async def create_template(gateway: httpx.AsyncClient, token: str, **fields: Any) -> dict[str, Any]:
    answer = await gateway.post("/email-templates", json=fields, headers=bearer(token))
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


async def test_a_job_of_the_core_is_a_mail_that_its_tenant_sees(rig: Rig, gateway: httpx.AsyncClient) -> None:
    tenant, other = rig.tenants[0], rig.tenants[1]
    to = address()
    await publish_as_core(
        rig,
        {"to": to, "template": "fault", "variables": {"marker": "<journey>"}, "tenant_id": str(tenant)},
        message_id=uuid.uuid4().hex,
    )

    (mail,) = await arrived(rig, to)
    assert mail["To"] == to
    assert mail["Subject"] == f"marker:<journey> tenant:{tenant}"
    html, text = mail.get_body(("html",)), mail.get_body(("plain",))
    assert html is not None
    assert text is not None
    assert "Hello, this is &lt;journey&gt;." in html.get_content(), "escaped in HTML"
    assert "Hello, this is <journey>." in text.get_content(), "as it is in plain text"

    token = rig.tokens[tenant]
    by_bearer = await logged(gateway, to, bearer(token))
    assert by_bearer["template"] == "fault"
    assert by_bearer["message_id"] == mail["Message-ID"]
    by_cookie = await gateway.get("/emails", params={"to": to}, headers={"Cookie": f"theme=dark; jwt={token}"})
    assert by_cookie.json()["data"] == [by_bearer]
    under_api = await gateway.get(f"/api/emails/{by_bearer['id']}", headers=bearer(token))
    assert under_api.json() == by_bearer

    foreign = await gateway.get("/emails", params={"to": to}, headers=bearer(rig.tokens[other]))
    assert foreign.json()["data"] == []
    by_id = await gateway.get(f"/emails/{by_bearer['id']}", headers=bearer(rig.tokens[other]))
    absent = await gateway.get(f"/emails/{uuid.uuid4()}", headers=bearer(rig.tokens[other]))
    assert (by_id.status_code, absent.status_code) == (404, 404)
    same = ("type", "title", "status", "detail", "code")
    assert [by_id.json()[name] for name in same] == [absent.json()[name] for name in same], (
        "not yours reads as not there"
    )
    nobody = await gateway.get("/emails", params={"to": to})
    assert nobody.status_code == 401
    assert nobody.headers["content-type"].startswith("application/problem+json")


async def test_the_names_that_other_producers_use_are_understood(rig: Rig, gateway: httpx.AsyncClient) -> None:
    tenant = rig.tenants[0]
    jobs: list[dict[str, Any]] = [
        {"email": address(), "template_slug": "fault", "data": {"marker": "a"}, "tenantId": str(tenant)},
        {"recipient": address(), "slug": "fault", "context": {"marker": "b"}},
        {
            "to": {"email": address(), "name": "Ana"},
            "templateName": "fault",
            "vars": {"marker": "c"},
            "tenantId": str(tenant),
        },
        {"to": [address(), address()], "template": "fault", "variables": {"marker": "d"}, "tenant_id": str(tenant)},
    ]
    for job in jobs:
        if "tenantId" not in job:
            job["tenant_id"] = str(tenant)
        await publish_as_core(rig, job, message_id=uuid.uuid4().hex)
    several: list[str] = jobs[3]["to"]
    for to in (jobs[0]["email"], jobs[1]["recipient"], jobs[2]["to"]["email"], *several):
        (mail,) = await arrived(rig, to)
        assert to in mail["To"]


async def test_the_same_job_twice_is_one_mail(rig: Rig, gateway: httpx.AsyncClient) -> None:
    tenant = rig.tenants[2]
    keyed, numbered = address(), address()
    job = {"to": keyed, "template": "fault", "variables": {"marker": "x"}, "tenant_id": str(tenant)}
    key, number = uuid.uuid4().hex, uuid.uuid4().hex
    for _ in range(3):
        await publish_as_core(rig, {**job, "idempotency_key": key}, message_id=uuid.uuid4().hex)
        await publish_as_core(rig, {**job, "to": numbered}, message_id=number)
    assert await rig.settle(timeout_s=PATIENCE_S) is not None
    await arrived(rig, keyed)
    await arrived(rig, numbered)


async def test_a_handlebars_template_keeps_working(rig: Rig, gateway: httpx.AsyncClient) -> None:
    tenant = rig.tenants[3]
    slug = f"hbs-{uuid.uuid4().hex[:8]}"
    await create_template(
        gateway,
        rig.tokens[tenant],
        slug=slug,
        subject="Hi {{name}}",
        body_html="<ul>{{#each items}}<li>{{@index}}: {{this}}</li>{{/each}}</ul>"
        "{{#if vip}}<b>VIP</b>{{else}}-{{/if}}{{{raw}}}",
        variables=["name", "items", "vip", "raw"],
    )
    to = address()
    variables = {"name": "Zoë", "items": ["a&b", "c"], "vip": False, "raw": "<i>raw</i>"}
    job = {"to": to, "template": slug, "variables": variables, "tenant_id": str(tenant)}
    await publish_as_core(rig, job, message_id=uuid.uuid4().hex)
    (mail,) = await arrived(rig, to)
    html = mail.get_body(("html",))
    assert html is not None
    assert mail["Subject"] == "Hi Zoë"
    assert html.get_content().strip() == "<ul><li>0: a&amp;b</li><li>1: c</li></ul>-<i>raw</i>"


async def test_a_secret_variable_is_in_the_mail_and_nowhere_else(rig: Rig, gateway: httpx.AsyncClient) -> None:
    tenant = rig.tenants[4]
    slug = f"reset-{uuid.uuid4().hex[:8]}"
    await create_template(
        gateway,
        rig.tokens[tenant],
        slug=slug,
        subject="Reset your password",
        body_html="<p>{{ name }}: <a href='{{ reset_link }}'>reset</a></p>",
        variables=["name", "reset_link:secret"],
    )
    to, canary = address(), f"canary{uuid.uuid4().hex}"
    variables = {"name": "Ana", "reset_link": f"https://app.example.org/reset?t={canary}"}
    job = {"to": to, "template": slug, "variables": variables, "tenant_id": str(tenant)}
    await publish_as_core(rig, job, message_id=uuid.uuid4().hex)
    (mail,) = await arrived(rig, to)
    html = mail.get_body(("html",))
    assert html is not None
    assert canary in html.get_content()
    entry = await logged(gateway, to, bearer(rig.tokens[tenant]))
    assert canary not in json.dumps(entry)
    assert entry["variables"]["name"] == "Ana"
    for table in ("emails", "outbox", "dead_letters", "inbox", "deliveries"):
        rows = await rig.database.fetch(f"SELECT row_to_json(t)::text AS text FROM mailer.{table} AS t")
        held = [row for row in rows if canary in row["text"] or canary.encode().hex() in row["text"]]
        assert not held, f"{table} still holds the secret"
    assert canary not in rig.mailer.log_tail(10_000_000)


async def test_a_missing_variable_fails_the_mail_and_names_it(rig: Rig, gateway: httpx.AsyncClient) -> None:
    tenant = rig.tenants[5]
    to = address()
    await publish_as_core(rig, {"to": to, "template": "fault", "tenant_id": str(tenant)}, message_id=uuid.uuid4().hex)
    entry = await logged(gateway, to, bearer(rig.tokens[tenant]), status="failed")
    assert "marker" in entry["reason"]


async def test_what_was_sent_is_told_to_other_services(rig: Rig, gateway: httpx.AsyncClient) -> None:
    tenant = rig.tenants[6]
    to = address()
    job = {"to": to, "template": "fault", "variables": {"marker": "told"}, "tenant_id": str(tenant)}
    await publish_as_core(rig, job, message_id=uuid.uuid4().hex)
    entry = await logged(gateway, to, bearer(rig.tokens[tenant]))
    assert not await rig.told([uuid.UUID(entry["id"])])


async def test_the_services_api_is_described_at_the_edge(rig: Rig, gateway: httpx.AsyncClient) -> None:
    page = await gateway.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text, "the page works offline"
    document = (await gateway.get("/openapi.json")).json()
    assert "/emails" in document["paths"] or "/api/emails" in document["paths"]
