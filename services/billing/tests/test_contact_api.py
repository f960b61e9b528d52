"""A visitor's message becomes one mail to the operator, whatever is written in it."""

from typing import Any

import pytest

from chassis.db import platform_transaction
from testkit.service import RunningService

from .selling import ask

MESSAGE = {"name": "Ana Lima", "email": "Ana@Example.com", "phone": "11 99999-0000", "message": "Oi!\n\nQuanto custa?"}


async def mails(billing: RunningService) -> list[dict[str, Any]]:
    return await billing.told("mail_queue")


@pytest.fixture
async def billing(start: Any) -> RunningService:
    service: RunningService = await start(ROLE="api", CONTACT_EMAIL="contato@example.com")
    return service


async def test_a_message_is_a_mail_to_the_operator(billing: RunningService) -> None:
    answer = await ask(billing, "/contact", None, MESSAGE)
    assert (answer.status_code, answer.json()) == (200, {"success": True, "message": "Email sent successfully"})
    [job] = await mails(billing)
    assert job["to"] == {"email": "contato@example.com", "name": None}
    assert job["template"] == "contact_message"
    assert job["variables"] == {
        "name": "Ana Lima",
        "email": "ana@example.com",
        "phone": "11 99999-0000",
        "message": "Oi!\n\nQuanto custa?",
    }
    assert "tenant_id" not in job
    assert job["idempotency_key"].startswith("billing-contact-")


async def test_a_repeated_message_is_passed_on_once(billing: RunningService) -> None:
    for _ in range(2):
        answer = await ask(billing, "/contact", None, MESSAGE, key="k")
        assert answer.status_code == 200
    other = await ask(billing, "/contact", None, MESSAGE | {"message": "x"}, key="k")
    assert (other.status_code, other.json()["error"]) == (422, other.json()["detail"])
    assert len(await mails(billing)) == 1
    await ask(billing, "/contact", None, MESSAGE)
    keys = {job["idempotency_key"] for job in await mails(billing)}
    assert len(keys) == 2


REFUSED: list[tuple[dict[str, Any], int]] = [
    ({}, 400),
    (MESSAGE | {"name": " "}, 400),
    (MESSAGE | {"email": ""}, 400),
    (MESSAGE | {"message": " \n "}, 400),
    ({key: value for key, value in MESSAGE.items() if key != "message"}, 400),
    (MESSAGE | {"email": "ana"}, 422),
    (MESSAGE | {"email": "ana@example.com\nBcc: eve@example.com"}, 422),
    (MESSAGE | {"email": "ana@example.com, eve@example.com"}, 422),
    (MESSAGE | {"name": "Ana\u0007"}, 422),
    (MESSAGE | {"name": "x" * 201}, 422),
    (MESSAGE | {"phone": "1" * 41}, 422),
    (MESSAGE | {"message": "x" * 10_001}, 422),
    (MESSAGE | {"to": "eve@example.com"}, 422),
    (MESSAGE | {"name": 7}, 422),
]


async def test_what_is_refused(billing: RunningService) -> None:
    for body, status in REFUSED:
        answer = await ask(billing, "/contact", None, body)
        assert (answer.status_code, answer.json()["error"]) == (status, answer.json()["detail"]), body
    assert await mails(billing) == []


async def test_lines_in_a_name_are_one_line(billing: RunningService) -> None:
    """What a header is made of has no line of its own in it, whatever the mailer would do about that."""
    for name in ("Ana\r\nBcc: eve@example.com", "Ana\u2028Bcc: eve@example.com", "Ana\u0085Bcc: eve@example.com"):
        assert (await ask(billing, "/contact", None, MESSAGE | {"name": name, "phone": "1\n2"})).status_code == 200
    jobs = await mails(billing)
    assert {job["variables"]["name"] for job in jobs} == {"Ana Bcc: eve@example.com"}
    assert {job["variables"]["phone"] for job in jobs} == {"1 2"}
    assert {job["to"]["email"] for job in jobs} == {"contato@example.com"}


async def test_without_an_operators_address(start: Any) -> None:
    billing = await start(ROLE="api")
    answer = await ask(billing, "/contact", None, MESSAGE)
    assert (answer.status_code, answer.json()["code"]) == (503, "contact_not_configured")
    async with platform_transaction(billing.db) as conn:
        assert await conn.fetchval("SELECT count(*) FROM outbox") == 0
