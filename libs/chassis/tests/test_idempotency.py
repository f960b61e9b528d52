"""The same Idempotency-Key has one effect, whoever races whom."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

from litestar import Response
from litestar.datastructures import Headers

from chassis.body_guard import StrictRequest
from chassis.db import Connection, platform_transaction, transaction
from chassis.idempotency import once, purge
from chassis.identity import Identity

from .client import Client


async def test_fifty_at_once_have_one_effect(client: Client) -> None:
    for _ in range(5):
        key = {"Idempotency-Key": str(uuid4())}
        answers = await asyncio.gather(
            *(client.post("/notes", json={"title": str(key)}, headers=key) for _ in range(50))
        )
        assert {answer.status_code for answer in answers} <= {201, 409, 503}
        made = [answer for answer in answers if answer.status_code == 201]
        assert len({answer.content for answer in made}) == 1
        assert sum("idempotency-replayed" not in answer.headers for answer in made) == 1
        assert len(made) > 40
    assert len((await client.get("/notes")).json()) == 5


async def test_a_replay_is_the_same_answer_and_says_so(client: Client) -> None:
    key = {"Idempotency-Key": "k1"}
    first = await client.post("/notes", json={"title": "a", "priority": 3}, headers=key)
    again = await client.post(
        "/notes", content=b'{ "priority":3, "title":"a" }', headers={**key, "Content-Type": "application/json"}
    )
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["content-type"] == first.headers["content-type"]


async def test_another_body_is_refused(client: Client) -> None:
    key = {"Idempotency-Key": "k1"}
    await client.post("/notes", json={"title": "a"}, headers=key)
    other = await client.post("/notes", json={"title": "b"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_failure_stores_nothing(client: Client) -> None:
    key = {"Idempotency-Key": "k1"}
    await client.post("/notes", json={"title": "taken"})
    assert (await client.post("/notes", json={"title": "taken"}, headers=key)).status_code == 409
    assert (await client.post("/notes", json={"title": "x", "priority": 5000}, headers=key)).status_code == 422
    assert (await client.post("/notes", json={"title": "free"}, headers=key)).status_code == 201


async def test_a_key_is_of_its_tenant_and_subject(client: Client) -> None:
    key = {"Idempotency-Key": "k1"}
    first = await client.post("/notes", json={"title": "a"}, headers=key)
    others = await client.http.post("/notes", json={"title": "a"}, headers=client.headers(uuid4()) | key)
    assert others.status_code == 201
    assert "idempotency-replayed" not in others.headers
    assert others.json() != first.json()


async def test_a_caller_without_a_tenant_is_given_one(client: Client) -> None:
    """Somebody who is not signed in buys for the tenant that their address owns: the key is that tenant's."""
    db, effects = client.app.state.runtime.db, []

    async def effect(_: Connection) -> dict[str, int]:
        effects.append(1)
        return {"number": len(effects)}

    async def ask(tenant_id: UUID) -> Response[Any]:
        nobody = Identity(subject="anonymous", kind="public")
        headers = [(b"idempotency-key", b"k1")]
        request = cast(
            "StrictRequest",
            SimpleNamespace(user=nobody, headers=Headers(headers), method="POST", scope={"path": "/buy"}),
        )
        return await once(request, db, {"title": "a"}, effect, tenant_id=tenant_id)

    first, other = uuid4(), uuid4()
    answers = [await ask(tenant_id) for tenant_id in (first, first, other)]
    assert [answer.content for answer in answers] == [b'{"number":1}', b'{"number":1}', b'{"number":2}']
    assert ["Idempotency-Replayed" in answer.headers for answer in answers] == [False, True, False]


async def test_in_flight_past_the_lock_time_is_409(client: Client) -> None:
    db = client.app.state.runtime.db
    async with transaction(db, client.tenant_id) as connection:
        await connection.execute(
            "INSERT INTO idempotency_keys (tenant_id, subject, method, route, key, body_sha256)"
            " VALUES ($1, 'user-1', 'POST', '/notes', 'k1', 'x')",
            client.tenant_id,
        )
        answer = await client.post("/notes", json={"title": "a"}, headers={"Idempotency-Key": "k1"})
    assert (answer.status_code, answer.json()["code"]) == (409, "request_in_flight")


async def test_bad_keys(client: Client) -> None:
    for key in ("", " ", "a b", "x" * 256, "a\tb"):
        headers = [*client.headers().items(), ("Idempotency-Key", key)]
        answer = await client.http.post("/notes", json={"title": "a"}, headers=headers)
        assert answer.status_code == 400, key


async def test_answers_are_forgotten_after_a_day(client: Client) -> None:
    db = client.app.state.runtime.db
    await client.post("/notes", json={"title": "a"}, headers={"Idempotency-Key": "kept"})
    async with transaction(db, client.tenant_id) as connection:
        for hours in (25, 26, 40):
            await connection.execute(
                "INSERT INTO idempotency_keys (tenant_id, subject, method, route, key, body_sha256, status, body, "
                "created_at) VALUES ($1, 'user-1', 'POST', '/notes', $2, 'x', 201, 'x',"
                " now() - make_interval(hours => $3))",
                client.tenant_id,
                str(hours),
                hours,
            )
    async with platform_transaction(db) as connection:
        assert [await purge(connection) for _ in range(3)] == [1, 2, 0], "an hour's worth at a time"
        assert await connection.fetchval("SELECT count(created_at) FROM idempotency_keys") == 1
