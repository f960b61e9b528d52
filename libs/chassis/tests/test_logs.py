"""No secret reaches a log line: not by its key, not by its value, not inside a traceback."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from chassis import logs
from chassis.settings import Secret

from .client import Client

CANARY = "canary-5f0c2b6e9d"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = list(root.handlers)
    written = io.StringIO()
    logs.install("info", [CANARY], written)
    yield written
    root.handlers[:] = before


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_by_key(stream: io.StringIO) -> None:
    keys = "password smtp_pass DB_PASSWORD passwd token access_token secret client_secret Authorization cookie"
    keys += " Set-Cookie api_key apikey private_key variables jwt X-Internal-Identity"
    hidden = dict.fromkeys(keys.split(), "plain-words")
    structlog.get_logger("t").info("x", nested={"deeper": [hidden]}, user="ana", **hidden)
    assert "plain-words" not in stream.getvalue()
    assert lines(stream)[0]["user"] == "ana"


def test_by_value(stream: io.StringIO) -> None:
    log = structlog.get_logger("t")
    log.info("said %s", CANARY, note=f"in {CANARY} text", items=[(CANARY,)], secret_object={"x": Secret(CANARY)})
    logging.getLogger("asyncpg").warning("standard library: %s", CANARY)
    log.info("url", dsn="amqp://mailer:s3cr3t-pw@host/x", header="Authorization: Bearer abc.def.ghi")
    try:
        raise ValueError(f"cannot connect with {CANARY}")
    except ValueError as error:
        log.error("failed", exc_info=error)
        logging.getLogger("x").exception("failed too")
    text = stream.getvalue()
    assert CANARY not in text
    assert "s3cr3t-pw" not in text
    assert "abc.def" not in text
    assert text.count("Traceback") == 2


def test_a_path_without_the_secrets_in_it() -> None:
    scope = {"path": "/reset/abc/of/7", "path_params": {"token": "abc", "id": 7}}
    assert logs.shown_path(scope) == "/reset/***/of/7"
    assert logs.shown_path({"path": "/reset/abc"}) == "/reset/abc"


def test_every_line_is_json(stream: io.StringIO) -> None:
    log = structlog.get_logger("t")
    log.info("lone \ud800 surrogate", nul="\0", newline="a\nb", thing=object(), number=1, none=None, raw=b"\xff")
    assert lines(stream)[0]["number"] == 1


async def test_a_request_is_one_line_without_its_query_or_body(client: Client, stream: io.StringIO) -> None:
    await client.post("/notes?title=query-canary", json={"title": "body-canary"})
    await client.get("/notes?limit=query-canary")
    token = client.headers()["X-Internal-Identity"]
    written = [line for line in lines(stream) if line["event"] == "request"]
    assert len(written) == 2
    assert written[0]["route"] == "/notes"
    assert written[0]["tenant_id"] == str(client.tenant_id)
    for canary in ("query-canary", "body-canary", token):
        assert canary not in stream.getvalue()
