"""What sign-in decides by, without a database: passwords, brands, callers, problems, seats and links."""

from contextlib import suppress
from typing import Any, cast
from uuid import uuid4

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, Request, get, post
from litestar.params import JSONBody

from chassis.body_guard import StrictRequest
from chassis.identity import Identity
from chassis.problems import render
from contracts.errors import Forbidden, Invalid, NotFound, ServiceError, Unauthenticated, Unavailable
from tenants.api.caller import actor_of, caller_of, person_of
from tenants.api.seed_errors import seed_errors
from tenants.domain.brand import brand_of
from tenants.domain.companies import TenantStatus, new_tenant
from tenants.domain.identifiers import new_id
from tenants.domain.passwords_policy import accepted_password, normal_password
from tenants.domain.people import MemberStatus, User, UserStatus, new_membership, new_user
from tenants.domain.sign_in import (
    Belonging,
    choose_belonging,
    home_of,
    locale_of,
    password_link_for,
    status_after_link,
)

from .sign_in_records import THEN


def person(**fields: Any) -> User:
    user = new_user(new_id(THEN), "ana@example.com", "Ana", THEN)
    return msgspec.structs.replace(user, **{"status": UserStatus.ACTIVE, "password_hash": "x", **fields})


def belonging(
    user: User, status: MemberStatus = MemberStatus.ACTIVE, tenant_status: TenantStatus = TenantStatus.ACTIVE
) -> Belonging:
    tenant = new_tenant(uuid4(), "Acme", "acme", tenant_status, THEN)
    return Belonging(membership=new_membership(user, tenant.tenant_id, "owner", status, THEN), tenant=tenant)


def test_the_first_tenant_that_counts() -> None:
    user = person()
    closed = belonging(user, tenant_status=TenantStatus.CLOSED)
    first, second = belonging(user), belonging(user)
    assert choose_belonging(user, [closed, first, second], None) is first
    assert choose_belonging(user, [closed, first, second], second.tenant.tenant_id) is second
    assert home_of([closed, first]) is first.tenant
    assert home_of([closed]) is closed.tenant
    assert home_of([]) is None
    assert choose_belonging(user, [], None) is None
    assert choose_belonging(person(is_platform_admin=True), [first], None) is None
    with pytest.raises(Forbidden):
        choose_belonging(user, [closed], None)
    with pytest.raises(Forbidden):
        choose_belonging(user, [closed, first], closed.tenant.tenant_id)
    with pytest.raises(Forbidden):
        choose_belonging(person(is_platform_admin=True), [first], uuid4())


def test_whom_a_link_to_choose_a_password_is_for() -> None:
    waiting = person(status=UserStatus.PENDING, password_hash=None)
    assert password_link_for(person(), []) == "reset_password"
    assert password_link_for(person(password_hash=None), []) == "reset_password"
    assert password_link_for(person(status=UserStatus.PENDING), []) == "reset_password"
    assert password_link_for(waiting, [belonging(waiting)]) == "set_password"
    assert password_link_for(waiting, []) is None
    assert password_link_for(waiting, [belonging(waiting, tenant_status=TenantStatus.PENDING)]) is None
    for status in (UserStatus.SUSPENDED, UserStatus.INACTIVE, UserStatus.ERASED):
        shut_out = person(status=status)
        assert password_link_for(shut_out, [belonging(shut_out)]) is None
        for purpose in ("set_password", "reset_password", "verify_email"):
            assert status_after_link(shut_out, purpose) is None
    assert status_after_link(waiting, "set_password") is UserStatus.ACTIVE
    assert status_after_link(waiting, "verify_email") is None, "of an account that a payment made"
    assert status_after_link(person(status=UserStatus.PENDING), "verify_email") is UserStatus.ACTIVE
    assert status_after_link(person(), "verify_email") is UserStatus.ACTIVE


@pytest.mark.parametrize(
    ("preferences", "locale"),
    [
        ({"locale": "en"}, "en"),
        ({"language": "pt-BR"}, "pt-BR"),
        ({}, None),
        ({"locale": 5}, None),
        ({"locale": "x" * 50}, None),
        ({"locale": "", "language": "en"}, "en"),
    ],
)
def test_the_language_of_a_persons_mails(preferences: dict[str, Any], locale: str | None) -> None:
    assert locale_of(person(preferences=preferences)) == locale


@given(st.text(min_size=10, max_size=200))
def test_a_password_comes_out_composed_or_not_at_all(password: str) -> None:
    with suppress(Invalid):
        accepted = accepted_password(password, email="ana@example.com")
        assert accepted == normal_password(password) == normal_password(accepted)
        assert 10 <= len(accepted) <= 200
        assert accepted.casefold().strip() not in ("ana@example.com", "1234567890")


@pytest.mark.parametrize(
    "password", ["senha12345", "SENHA12345", " password123 ", "ana.lima@example.com", "Ana.Limaaa"]
)
def test_passwords_that_everybody_tries(password: str) -> None:
    with pytest.raises(Invalid):
        accepted_password(password, email="ana.lima@example.com" if "@" in password else "ana.limaaa@example.com")


def test_length_is_counted_in_composed_characters() -> None:
    assert accepted_password("e\u0301" * 10, email=None) == "\u00e9" * 10
    for refused in ("e\u0301" * 9, "a" * 201, ""):
        with pytest.raises(Invalid):
            accepted_password(refused, email=None)


@pytest.mark.parametrize(
    ("color", "shown"),
    [
        ("#112233", "#112233"),
        ("#abc", "#abc"),
        ("red", "#D62598"),
        ("#112233;position:fixed", "#D62598"),
        ("#11223", "#D62598"),
        ("#112233\n", "#D62598"),
        ("", "#D62598"),
    ],
)
def test_a_brand_color_is_a_color(color: str, shown: str) -> None:
    tenant = msgspec.structs.replace(
        new_tenant(uuid4(), "Acme", "acme", TenantStatus.ACTIVE, THEN), branding={"brand_color": color}
    )
    assert brand_of(tenant) == {"brand_name": "Acme", "brand_color": shown}
    assert brand_of(None) == {"brand_name": "Backoffice", "brand_color": "#D62598"}


def test_who_calls() -> None:
    subject = uuid4()
    assert person_of(Identity(subject=str(subject))) == subject
    assert person_of(Identity(subject=str(subject), kind="platform_admin")) == subject
    with pytest.raises(NotFound):
        person_of(Identity(subject="42"))
    for kind in ("public", "api_key", "webhook"):
        with pytest.raises(Unauthenticated):
            person_of(Identity(subject=str(subject), kind=kind))
    assert actor_of(Identity(subject="x", kind="api_key")).type == "api_key"
    assert actor_of(Identity(subject="stripe", kind="webhook")).type == "service"


class Body(msgspec.Struct, forbid_unknown_fields=True):
    number: int


@get("/where")
async def where(request: Request[Any, Any, Any]) -> dict[str, str | None]:
    found = caller_of(request)
    return {"address": found.address, "agent": found.user_agent}


@post("/002", exception_handlers=seed_errors("002"))
async def of_002(data: JSONBody[Body]) -> None:
    if data.number == 1:
        raise Unauthenticated("Invalid credentials", code="invalid_credentials")
    if data.number == 2:
        raise Unavailable("Come back.", retry_after_s=7)
    raise RuntimeError("a defect, and none of the caller's business")


@post("/004", exception_handlers=seed_errors("004"))
async def of_004(data: JSONBody[Body]) -> None:
    raise NotFound("Nothing there.")


async def ask(method: str, path: str, **options: Any) -> httpx.Response:
    app = Litestar(
        [where, of_002, of_004],
        request_class=StrictRequest,
        exception_handlers={Exception: render, ServiceError: render},
        openapi_config=None,
        logging_config=None,
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=cast("Any", app)), base_url="http://t") as http:
        return await http.request(method, path, **options)


async def test_where_a_request_comes_from() -> None:
    one = await ask("GET", "/where", headers={"X-Forwarded-For": "2001:DB8::1", "User-Agent": "x" * 400})
    assert one.json() == {"address": "2001:db8::1", "agent": "x" * 300}
    twice = [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-For", "203.0.113.8")]
    for headers in (twice, [("X-Real-IP", "203.0.113.7")], [("Forwarded", "for=203.0.113.7")]):
        assert (await ask("GET", "/where", headers=headers)).json()["address"] is None


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [
        (1, 401, "Invalid credentials"),
        (2, 503, "Come back."),
        (3, 500, "Something went wrong on our side; the trace id finds it in our logs."),
        ("x", 422, "The body is refused."),
    ],
)
async def test_a_problem_carries_seed_002s_members(number: Any, status: int, words: str) -> None:
    answer = await ask("POST", "/002", json={"number": number})
    body = answer.json()
    assert (answer.status_code, body["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (body["success"], body["message"], body["detail"]) == (False, words, words)
    assert "defect" not in answer.text


async def test_a_problem_carries_seed_004s_members() -> None:
    body = (await ask("POST", "/004", json={"number": 1})).json()
    assert (body["message"], body["code"]) == ("Nothing there.", "not_found")
    assert "success" not in body
    body = (await ask("POST", "/004", json={"number": "x"})).json()
    assert body["details"] == body["errors"] != []
