"""A seed's front end finds the reason of an error where it looks for it, and it stays a problem."""

from typing import Any, cast

import httpx
import msgspec
import pytest
from litestar import Litestar, post
from litestar.params import JSONBody

from billing.api.seed_errors import seed_errors
from chassis.body_guard import StrictRequest
from chassis.problems import render
from contracts.errors import Malformed, ServiceError, Unavailable


class Body(msgspec.Struct, forbid_unknown_fields=True):
    number: int


@post("/002", exception_handlers=seed_errors("error"))
async def of_002(data: JSONBody[Body]) -> None:
    if data.number == 1:
        raise Malformed("Missing required fields")
    if data.number == 2:
        raise Unavailable("Come back.", retry_after_s=7)
    raise RuntimeError("a defect, and none of the caller's business")


@post("/004", exception_handlers=seed_errors("message"))
async def of_004(data: JSONBody[Body]) -> None:
    raise Malformed("No.", code="no")


async def answer(path: str, content: bytes, media_type: str = "application/json") -> httpx.Response:
    app = Litestar(
        [of_002, of_004],
        request_class=StrictRequest,
        exception_handlers={Exception: render, ServiceError: render},
        openapi_config=None,
        logging_config=None,
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=cast("Any", app)), base_url="http://billing"
    ) as http:
        return await http.post(path, content=content, headers={"Content-Type": media_type})


@pytest.mark.parametrize(
    ("content", "status", "code", "words"),
    [
        (b'{"number": 1}', 400, "malformed_request", "Missing required fields"),
        (b'{"number": 2}', 503, "unavailable", "Come back."),
        (b'{"number": "x"}', 422, "invalid", "The body is refused."),
        (b'{"number": 1, "more": 1}', 422, "invalid", "The body is refused."),
        (b"{", 400, "too_deep", "The body is nested deeper than 64 levels, or not closed."),
    ],
)
async def test_an_error_is_a_problem_with_the_seeds_member(content: bytes, status: int, code: str, words: str) -> None:
    found = await answer("/002", content)
    body: dict[str, Any] = found.json()
    assert found.status_code == status, found.text
    assert found.headers["content-type"] == "application/problem+json"
    assert (body["status"], body["code"], body["detail"], body["error"]) == (status, code, words, words)
    assert ("retry-after" in found.headers) == (status == 503)
    assert "message" not in body


async def test_a_defect_shows_nothing_of_itself() -> None:
    found = await answer("/002", b'{"number": 3}')
    assert found.status_code == 500
    assert "defect" not in found.text
    assert found.json()["error"] == found.json()["detail"]


async def test_the_other_dialect() -> None:
    body = (await answer("/004", b'{"number": 1}')).json()
    assert (body["message"], body["code"]) == ("No.", "no")
    assert "error" not in body


async def test_the_wrong_media_type_is_told_the_same_way() -> None:
    found = await answer("/002", b"number=1", "application/x-www-form-urlencoded")
    assert (found.status_code, found.json()["error"]) == (415, found.json()["detail"])
