"""Whom a record names, from where, and whose personal data that is."""

from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from litestar import Request

from chassis.doers import doer_of
from chassis.identity import Identity, Kind
from contracts.audit import AuditContext, Doer

PERSON = "0190a5d2-7c1e-7000-8000-000000000001"


def doer(*headers: tuple[str, str], kind: Kind = "user", subject: str = PERSON) -> Doer:
    scope = {
        "type": "http",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        "user": Identity(subject=subject, kind=kind, tenant_id=uuid4()),
    }
    return doer_of(Request(cast("Any", scope)))


@pytest.mark.parametrize(
    ("sent", "location"),
    [
        (["203.0.113.7"], "203.0.113.7"),
        ([" 203.0.113.7 "], "203.0.113.7"),
        (["2001:DB8::1"], "2001:db8::1"),
        ([], None),
        ([""], None),
        (["unknown"], None),
        (["203.0.113.7, 198.51.100.1"], None),
        (["203.0.113.7", "198.51.100.1"], None),
        (["203.0.113.7:80"], None),
        (["999.0.0.1"], None),
        (["\u00e9" * 5_000], None),
    ],
    ids=[
        "v4", "spaces", "v6", "none", "empty", "a word", "two in one", "two headers", "a port", "no address", "latin-1",
    ],
)  # fmt: skip
def test_only_one_address_counts(sent: list[str], location: str | None) -> None:
    assert doer(*(("x-forwarded-for", value) for value in sent)).context == AuditContext(location=location)


def test_other_headers_name_no_address() -> None:
    assert doer(("x-real-ip", "203.0.113.7"), ("forwarded", "for=203.0.113.7")).context.location is None


def test_an_agent_is_cut() -> None:
    assert doer(("user-agent", "tests/1" + "x" * 400)).context.user_agent == ("tests/1" + "x" * 400)[:300]
    assert doer(("user-agent", "")).context.user_agent is None


@pytest.mark.parametrize(
    ("kind", "subject", "named", "person_id"),
    [
        ("user", PERSON, "user", PERSON),
        ("platform_admin", PERSON, "platform_admin", PERSON),
        ("user", "core-user-7", "user", None),
        ("api_key", PERSON, "api_key", None),
        ("public", PERSON, "public", None),
        ("webhook", PERSON, "service", None),
        ("gateway", PERSON, "service", None),
    ],
)
def test_who_it_is_and_whether_a_person_of_ours(kind: Kind, subject: str, named: str, person_id: str | None) -> None:
    found = doer(kind=kind, subject=subject)
    assert (found.actor.type, found.actor.id, found.actor.name) == (named, subject, None)
    assert found.person_id == (UUID(person_id) if person_id else None)
