"""Every error is a problem, and tells a caller nothing of what is inside."""

from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from chassis.logs import JsonFormatter
from chassis.problems import as_service_error

from .client import Client


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = response.json()
    assert found["status"] == status
    assert {"type", "title", "detail", "instance", "code", "trace_id"} <= found.keys()
    assert len(found["trace_id"]) == 32
    assert found["trace_id"] != "0" * 32
    return found


async def test_writes_and_reads(client: Client) -> None:
    made = await client.post("/notes", json={"title": "um"})
    assert made.status_code == 201, made.text
    assert made.json()["title"] == "um"
    assert (await client.get("/notes")).json() == [made.json()]
    assert (await client.get(f"/notes/{made.json()['id']}")).json() == made.json()


async def test_what_is_not_there(client: Client) -> None:
    problem(await client.get("/nothing"), 404)
    missing = problem(await client.get(f"/notes/{uuid4()}"), 404)
    assert missing["detail"] == "No such note."
    refused = await client.http.delete("/notes", headers=client.headers())
    problem(refused, 405)
    assert {"GET", "POST"} <= {method.strip() for method in refused.headers["allow"].split(",")}
    problem(await client.http.request("BREW", "/notes", headers=client.headers()), 405)
    problem(await client.get("/notes", headers={"Accept": "text/html"}), 406)


async def test_another_tenants_row_looks_missing(client: Client) -> None:
    made = await client.post("/notes", json={"title": "mine"})
    other = await client.http.get(f"/notes/{made.json()['id']}", headers=client.headers(uuid4()))
    mine, theirs = problem(await client.get(f"/notes/{uuid4()}"), 404), problem(other, 404)
    assert {**mine, "trace_id": "", "instance": ""} == {**theirs, "trace_id": "", "instance": ""}


async def test_field_errors_name_their_path(client: Client) -> None:
    found = problem(await client.post("/notes", json={"title": 5}), 422)
    assert found["errors"] == [{"field": "$.title", "message": "Expected `str`, got `int`"}]
    found = problem(await client.post("/notes", json={"title": "x", "tenant_id": str(uuid4())}), 422)
    assert "tenant_id" in found["errors"][0]["message"]
    found = problem(await client.get("/notes?limit=0"), 400)
    assert found["errors"][0]["field"] == "query.limit"


async def test_odd_queries(client: Client) -> None:
    for query in [
        "limit=x",
        "limit=1&limit=2",
        "limit=101",
        "nosuch=1",
        "limit=%ff",
        "%C0=1",
        "limit=1e3",
    ]:
        problem(await client.get(f"/notes?{query}"), 400)
    problem(await client.get("/notes?limit=%00"), 422)


async def test_odd_paths(client: Client) -> None:
    for path in [
        "/notes/%00",
        "/titles/%00",
        "/titles/a%00b",
        "/titles/%ff",
        "/titles/%C0%AE",
        "/titles/%2e%2e",
        "/titles/%2F",
        "/titles/%5c",
        "/titles/%61",
        "/titles/a;b=c",
        "/titles/..",
        "/titles/.",
        "//titles/a",
        "/titles//a",
        "/titles/a/",
        "/titles/%0d%0aset-cookie:x",
        "/titles/%zz",
        "/titles/%",
        "/titles/%ED%A0%80",
    ]:
        assert problem(await client.raw_get(path.encode()), 400)["code"] == "path_not_canonical", path


async def test_odd_ids(client: Client) -> None:
    made = (await client.post("/notes", json={"title": "one"})).json()["id"]
    assert (await client.get(f"/notes/{made.upper()}")).status_code == 200
    for odd in (f"urn:uuid:{made}", made.replace("-", ""), "1", f"{made}0", "' OR 1=1 --", "n%C3%A3o"):
        problem(await client.get(f"/notes/{odd}"), 404)
    for braces in (f"%7B{made}%7D", f"{{{made}}}"):
        assert (await client.get(f"/notes/{braces}")).status_code in (400, 404)
    assert (await client.get("/titles/n%C3%A3o%20existe%20100%25")).json() == []


async def test_a_defect_says_nothing_and_is_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    found = problem(await client.get("/faults/defect"), 500)
    assert "canary" not in str(found)
    assert found["code"] == "internal_error"
    logged = "".join(JsonFormatter().format(record) for record in caplog.records)
    assert "Traceback" in logged
    assert "hunter2-canary-secret" in logged
    assert found["trace_id"] in logged


async def test_unavailable_says_when_to_come_back(client: Client) -> None:
    response = await client.get("/faults/away")
    problem(response, 503)
    assert response.headers["retry-after"] == "7"


async def test_sqlstates(client: Client) -> None:
    for state, status in [
        ("22001", 422),
        ("22003", 422),
        ("22021", 422),
        ("22P02", 422),
        ("22P05", 422),
        ("23502", 422),
        ("23503", 409),
        ("23505", 409),
        ("23514", 422),
        ("23P01", 409),
        ("40001", 503),
        ("40P01", 503),
        ("55P03", 503),
        ("53100", 503),
        ("53300", 503),
        ("57014", 503),
        ("57P01", 503),
        ("57P03", 503),
        ("08006", 503),
        ("25P03", 503),
        ("42P01", 500),
        ("42501", 500),
        ("XX000", 500),
    ]:
        response = await client.get(f"/faults/{state}")
        found = problem(response, status)
        assert "secret table" not in response.text
        assert ("retry-after" in response.headers) == (found["status"] == 503)


async def test_driver_errors() -> None:
    def status_of(error: Exception) -> int:
        known = as_service_error(error)
        return known.status if known else 500

    assert status_of(asyncpg.InterfaceError("connection is closed")) == 503
    assert status_of(asyncpg.InterfaceError("the server expects 1 argument for this query, 0 were passed")) == 500
    assert status_of(asyncpg.ConnectionDoesNotExistError("gone")) == 503
    assert status_of(asyncpg.exceptions.CannotConnectNowError("starting")) == 503
    assert status_of(ConnectionResetError()) == 503
    assert status_of(TimeoutError()) == 503
    assert status_of(RecursionError()) == 400
    assert status_of(KeyError("x")) == 500


async def test_what_the_driver_cannot_encode_is_422(client: Client) -> None:
    for value in ("\0", "\ud800"):
        with pytest.raises(Exception) as caught:
            async with client.app.state.runtime.db.app.acquire() as connection:
                await connection.execute("SELECT $1::text", value)
        found = as_service_error(caught.value)
        assert found
        assert found.status == 422, caught.value
    with pytest.raises(Exception) as caught:
        async with client.app.state.runtime.db.app.acquire() as connection:
            await connection.execute("SELECT $1::bigint", 2**70)
    found = as_service_error(caught.value)
    assert found
    assert found.status == 422, caught.value
