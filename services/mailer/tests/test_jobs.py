"""Jobs as the Go core may write them, and as nobody should."""

import contextlib
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import Invalid, Malformed, TooLarge
from contracts.mailer import MailJob
from contracts.tenancy import PLATFORM_TENANT_ID
from mailer.domain.addresses import Address
from mailer.domain.jobs import ALIASES, MAX_JOB_BYTES, MAX_RECIPIENTS, Job, decode_job

TENANT = UUID(int=7)
CANONICAL: dict[str, Any] = {
    "to": "ana@example.com",
    "template": "welcome",
    "variables": {"name": "Ana"},
    "tenant_id": str(TENANT),
    "locale": "en",
    "idempotency_key": "k-1",
}


def decode(**fields: Any) -> Job:
    return decode_job(msgspec.json.encode(fields))


def refused(field: str, **fields: Any) -> None:
    with pytest.raises(Invalid) as caught:
        decode(**{**CANONICAL, **fields})
    assert caught.value.errors[0].field.startswith(field.removeprefix("$.")) or caught.value.errors[0].field.startswith(
        f"$.{field}"
    )


def test_the_canonical_job_is_the_contracts() -> None:
    contract = MailJob(
        to="ana@example.com", template="welcome", variables={"name": "Ana"}, tenant_id=TENANT, locale="en",
        idempotency_key="k-1",
    )  # fmt: skip
    assert decode_job(msgspec.json.encode(contract)) == decode(**CANONICAL)


@pytest.mark.parametrize(
    ("field", "alias"), [(field, alias) for field, aliases in ALIASES.items() for alias in aliases]
)
def test_every_alias_means_the_same(field: str, alias: str) -> None:
    body = {alias if name == field else name: value for name, value in CANONICAL.items()}
    assert decode(**body) == decode(**CANONICAL)


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("ana@example.com", [Address("ana@example.com")]),
        ("Ana <ana@example.com>", [Address("ana@example.com", "Ana")]),
        ({"email": "ana@example.com", "name": "Ana"}, [Address("ana@example.com", "Ana")]),
        ({"address": "ana@example.com"}, [Address("ana@example.com")]),
        (["a@example.com", {"email": "b@example.com"}], [Address("a@example.com"), Address("b@example.com")]),
        (["a@example.com", "A@EXAMPLE.com"], [Address("a@example.com")]),
    ],
)
def test_a_recipient_may_be_a_text_an_object_or_a_list(to: Any, expected: list[Address]) -> None:
    assert list(decode(**{**CANONICAL, "to": to}).recipients) == expected


def test_what_is_absent_has_a_meaning() -> None:
    job = decode(to="ana@example.com", template="welcome")
    assert (job.variables, job.tenant_id, job.locale, job.idempotency_key) == ({}, PLATFORM_TENANT_ID, None, None)
    assert decode(**{**CANONICAL, "unknown": 1}) == decode(**CANONICAL)
    assert decode(**{**CANONICAL, "email": "ana@example.com"}) == decode(**CANONICAL)


def test_the_identity_is_the_key_within_its_tenant_else_the_message_id() -> None:
    job = decode(**CANONICAL)
    assert job.identity("m-1") == f"{TENANT}:k-1"
    bare = decode(to="ana@example.com", template="welcome")
    assert bare.identity("m-1") == "amqp:m-1"
    assert bare.identity(None) is None
    assert decode(**{**CANONICAL, "idempotency_key": 42}).idempotency_key == "42"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("to", None),
        ("to", []),
        ("to", 5),
        ("to", [["a@example.com"]]),
        ("to", {"name": "Ana"}),
        ("to", "a@example.com, b@example.com"),
        ("to", "ana@example.com\r\nBcc: eve@example.com"),
        ("to", {"email": "ana@example.com", "name": "A\r\nBcc: eve@example.com"}),
        ("to", [f"u{n}@example.com" for n in range(MAX_RECIPIENTS + 1)]),
        ("template", None),
        ("template", ""),
        ("template", 5),
        ("template", "x" * 300),
        ("template", "a\nb"),
        ("variables", ["a"]),
        ("variables", {"a": "x\x00y"}),
        ("variables", {"a\x00": "y"}),
        ("tenant_id", "not-a-uuid"),
        ("tenant_id", 5),
        ("locale", {}),
        ("idempotency_key", True),
    ],
)
def test_what_is_wrong_is_refused_by_name(field: str, value: Any) -> None:
    refused(field, **{field: value})


def test_two_aliases_that_disagree_are_refused() -> None:
    refused("to", email="other@example.com")


def test_nesting_is_bounded() -> None:
    deep: Any = "x"
    for _ in range(40):
        deep = [deep]
    refused("variables", variables={"a": deep})


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe", b"{} {}", b"[" * 100_000, b'{"to":"\\ud800"}', b'{"a":1e400}'],
)
def test_what_is_no_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        decode_job(body)


def test_a_body_without_end_is_too_large() -> None:
    with pytest.raises(TooLarge):
        decode_job(b" " * (MAX_JOB_BYTES + 1))


LEAF = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just("ana@example.com"))
JUNK = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner), max_leaves=8
)
KEYS = st.sampled_from([alias for aliases in ALIASES.values() for alias in aliases])


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, JUNK, max_size=8), st.booleans(), st.integers(0, 200))
def test_whatever_comes_is_a_job_or_a_refusal(fields: dict[str, Any], whole: bool, cut: int) -> None:
    body = msgspec.json.encode({**CANONICAL, **fields} if whole else fields)
    for raw in (body, body[:cut], body.replace(b"a", b"\xff", 1)):
        with contextlib.suppress(Malformed, Invalid, TooLarge):  # anything else fails the test
            job = decode_job(raw)
            assert job.recipients
            assert job.template.strip()
            msgspec.json.encode(job.variables)
