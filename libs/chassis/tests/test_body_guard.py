"""Bodies that lie (B2) end in 400, 413, 415 or 422, and text that is taken comes back as it went in (B3)."""

import gzip
import json
import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .client import Client

JSON = {"Content-Type": "application/json"}


def _bodies() -> dict[str, bytes]:
    title = b'{"title":%s}'
    cases: dict[str, bytes] = {}
    for depth in (65, 100, 1_000, 10_000, 100_000, 500_000):
        cases[f"arrays {depth} deep"] = b"[" * depth + b"]" * depth
        cases[f"objects {depth} deep"] = b'{"a":' * min(depth, 150_000) + b"1" + b"}" * min(depth, 150_000)
        cases[f"open arrays {depth}"] = b"[" * depth
        cases[f"deep title {depth}"] = title % (b"[" * depth + b"]" * depth)
        cases[f"mixed {depth}"] = b'[{"a":' * min(depth, 100_000) + b"1" + b"}]" * min(depth, 100_000)
    for count in (1_000, 10_000, 70_000):
        cases[f"{count} keys"] = json.dumps({f"k{n}": n for n in range(count)}).encode()
        cases[f"{count} empty arrays"] = title % (b"[" + b"[]," * count + b"[]]")
    for number in (
        b"9" * 5_000,
        b"-" + b"9" * 5_000,
        b"9223372036854775808",
        b"-9223372036854775809",
        b"1180591620717411303424",
        b"1e999",
        b"-1e999",
        b"1" * 400 + b".0",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"01",
        b"+1",
        b"1.",
        b".5",
        b"0x10",
        b"1_000",
        b"--1",
        b"1e",
        b"5.5",
        b'"5"',
        b"true",
        b"null",
        b"[]",
        b"{}",
        b"1001",
    ):
        cases[f"priority {number[:24].decode()} ({len(number)})"] = b'{"title":"x","priority":%s}' % number
    for string in (
        rb'"\u0000"',
        rb'"a\u0000b"',
        rb'"\ud800"',
        rb'"\udc00\ud800"',
        rb'"\uD83D"',
        rb'"\uDE00x"',
        b'"\x00"',
        b'"\x01"',
        b'"\n"',
        b'"\xff"',
        b'"\xc0\x80"',
        b'"\xed\xa0\x80"',
        b'"\xf5\x80\x80\x80"',
        rb'"\x41"',
        rb'"\u12"',
        b"'x'",
        b'"x',
        b'""',
        b"5",
        b"null",
        b"true",
        b"[]",
        b"{}",
        b'["x"]',
        b'"' + b"x" * 100_001 + b'"',
    ):
        cases[f"title {string[:24]!r} ({len(string)})"] = title % string
    for field in ("tenant_id", "id", "role", "amount", "status", "Title", "title ", "__proto__", "created_at", ""):
        cases[f"unknown field {field!r}"] = json.dumps({"title": "x", field: "y"}).encode()
    valid = b'{"title":"x"}'
    cases |= {
        "duplicate key": b'{"title":"x","title":"y"}',
        "duplicate key, escaped": rb'{"title":"x","\u0074itle":"y"}',
        "duplicate key, nested": b'{"title":"x","priority":{"a":1,"a":2}}',
        "NUL in a key": rb'{"title":"x","a\u0000":1}',
        "lone surrogate in a key": rb'{"title":"x","\ud800":1}',
        "UTF-8 BOM": b"\xef\xbb\xbf" + valid,
        "UTF-16": valid.decode().encode("utf-16"),
        "UTF-16 LE": valid.decode().encode("utf-16-le"),
        "UTF-32": valid.decode().encode("utf-32"),
        "latin-1": '{"title":"ação"}'.encode("latin-1"),
        "truncated": valid[:-1],
        "truncated in a string": valid[:10],
        "trailing bytes": valid + b"x",
        "trailing object": valid + valid,
        "trailing NUL": valid + b"\0",
        "trailing comma": b'{"title":"x",}',
        "comment": b'{"title":"x"/*y*/}',
        "single quotes": b"{'title':'x'}",
        "no value": b'{"title":}',
        "string": b'"title"',
        "number": b"1",
        "null": b"null",
        "true": b"true",
        "array of it": b"[" + valid + b"]",
        "empty object": b"{}",
        "empty": b"",
        "spaces": b"   ",
        "NUL": b"\0",
        "form": b"title=x",
        "xml": b"<title>x</title>",
        "2 MB": b'{"title":"' + b"x" * 2_000_000 + b'"}',
        "2 MB of spaces": b" " * 2_000_000 + valid,
        "gzip, undeclared": gzip.compress(valid),
    }
    return cases


BODIES = _bodies()


async def test_bodies_that_lie(client: Client) -> None:
    assert len(BODIES) >= 110
    slow: list[tuple[str, float]] = []
    for name, body in BODIES.items():
        began = time.perf_counter()
        response = await client.post("/notes", content=body, headers=JSON)
        slow.append((name, time.perf_counter() - began))
        assert response.status_code in (400, 413, 422), (name, response.status_code, response.text[:200])
        assert response.headers["content-type"] == "application/problem+json", name
    times = sorted(took for _, took in slow)
    assert times[int(len(times) * 0.99) - 1] < 0.5, sorted(slow, key=lambda item: -item[1])[:3]
    assert (await client.get("/notes")).json() == []


async def test_media_types_that_are_not_json(client: Client) -> None:
    for kind in [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/msgpack",
        "application",
        "json",
        "*/*",
    ]:
        headers = {"Content-Type": kind} if kind is not None else {}
        response = await client.post("/notes", content=b'{"title":"x"}', headers=headers)
        assert response.status_code == 415, response.text


async def test_a_gzip_bomb_is_not_opened(client: Client) -> None:
    body = gzip.compress(b" " * 10_000_000)
    response = await client.post("/notes", content=body, headers={**JSON, "Content-Encoding": "gzip"})
    assert response.status_code == 415


async def test_a_body_of_unknown_length_is_cut_off(client: Client) -> None:
    async def endless() -> object:
        for _ in range(100):
            yield b"x" * 65_536

    response = await client.post("/notes", content=endless(), headers=JSON)
    assert response.status_code == 413


async def test_what_json_allows_is_taken(client: Client) -> None:
    for body in (
        b' {"title" : "spaces" , "priority" : -9223372036854775808 } ',
        b'{"title":"[[[[[{{{{{ brackets in text ]]]]]}}}}}"}',
        rb'{"title":"\ud83d\ude00 \\u0000 \\ud800"}',
        b'{"title":"' + b"[" * 1000 + rb"\"[" + b'"}',
        '{"title":"çãé 🦫"}'.encode(),
    ):
        for kind in ("application/json", "application/json; charset=UTF-8", "Application/JSON", "application/x.y+json"):
            response = await client.post("/notes", content=body, headers={"Content-Type": kind})
            assert response.status_code in (201, 409), response.text
            if response.status_code == 201:
                assert response.json()["title"] == json.loads(body)["title"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=st.text(min_size=1, max_size=300), priority=st.integers(-(2**63), 1000))
async def test_text_comes_back_as_it_went_in(client: Client, title: str, priority: int) -> None:
    body = json.dumps({"title": title, "priority": priority}).encode()
    response = await client.post("/notes", content=body, headers=JSON)
    if "\0" in title or any("\ud800" <= letter <= "\udfff" for letter in title):
        assert response.status_code == 422
    elif response.status_code != 409:  # the same title came before
        assert response.status_code == 201, response.text
        read = (await client.get(f"/notes/{response.json()['id']}")).json()
        assert (read["title"], read["priority"]) == (title, priority)


async def test_look_alikes_stay_themselves(client: Client) -> None:
    for title in [
        "\u202eabc",
        "a\u200db",
        "👩‍👩‍👧‍👦",
        "e\u0301",
        "é",
        "İıiI",
        "Z\u0351\u036b\u0343",
        "０１２",
        "x" * 100_000,
        " x ",
        "\ufeff",
    ]:
        made = await client.post("/notes", json={"title": title})
        assert (await client.get(f"/notes/{made.json()['id']}")).json()["title"] == title
