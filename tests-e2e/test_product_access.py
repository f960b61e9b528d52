"""B5: every operation of the served description, for every default role and for those who may not pass at all.

What is expected is the edge's policy table, so an operation without a row in it fails here.
"""

import asyncio
import re
import time
from typing import Any
from uuid import uuid4

import httpx
import pytest
from product import Product

from gateway.docs import shape
from gateway.policy import ROLE_PERMISSIONS, rows_of
from gateway.routes import ROUTES
from gateway.routes.row import Access, Row
from testkit.tokens import user_jwt

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROLES = ("owner", "admin", "manager", "user", "member", "receptionist", "professional", "doctor", "affiliate")
POLICIES: dict[tuple[str, str], Row] = {(method, shape(row.path)): row for _, method, row in rows_of(ROUTES)}
#: Anybody may call these; a webhook's sender is known by its signature, an API key by itself: tests of their own.
OPEN = (Access.PUBLIC, Access.WEBHOOK)


@pytest.fixture
async def operations(product: Product) -> list[tuple[str, str, Row]]:
    """Each operation's method, a path for it that names nothing, and its row of the policy table."""
    async with product.client() as anybody:
        document = (await anybody.get("/openapi.json")).json()
    return [
        (method.upper(), re.sub(r"{[^}]+}", lambda _: str(uuid4()), path), POLICIES[method.upper(), shape(path)])
        for path, item in document["paths"].items()
        for method in item
    ]


async def test_nobody_passes_where_a_token_is_needed(product: Product, operations: list[tuple[str, str, Row]]) -> None:
    tenant = uuid4()
    late = user_jwt(product.made.jwt, tenant_id=tenant, exp=int(time.time()) - 3600)
    forged = user_jwt("x" * 48, tenant_id=tenant)
    guarded = [one for one in operations if one[2].policy.access not in OPEN]
    assert len(guarded) > 120
    for token in (None, late, forged):
        async with product.client(token) as client:
            assert await _answers(client, guarded) == {_cell(one): 401 for one in guarded}


@pytest.mark.parametrize("role", ROLES)
async def test_a_token_is_for_its_own_tenant(
    product: Product, operations: list[tuple[str, str, Row]], role: str
) -> None:
    guarded = [one for one in operations if one[2].policy.access in (Access.USER, Access.PERMISSION)]
    token = product.made.tenant_token(uuid4(), role=role)
    async with product.client(token, **{"x-tenant-id": str(uuid4())}) as stranger:
        assert await _answers(stranger, guarded) == {_cell(one): 403 for one in guarded}


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_without_a_tenant_opens_nothing_of_one(
    product: Product, operations: list[tuple[str, str, Row]], role: str
) -> None:
    """What it does not hold is refused as such; for what it would hold, a tenant is asked for."""
    held = ROLE_PERMISSIONS[role]
    guarded = [one for one in operations if one[2].policy.access is Access.PERMISSION and one[2].tenant_need != "none"]
    platforms = [one for one in operations if one[2].policy.access is Access.PLATFORM_ADMIN]
    assert len(guarded) > 80
    expected = {_cell(one): 400 if one[2].policy.permission in held else 403 for one in guarded}
    expected |= {_cell(one): 403 for one in platforms}
    async with product.client(user_jwt(product.made.jwt, role=role, sub=str(uuid4()))) as client:
        assert await _answers(client, [*guarded, *platforms]) == expected


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_opens_what_its_permissions_name(
    product: Product, operations: list[tuple[str, str, Row]], role: str
) -> None:
    """What is held gets to the service, which finds nothing there or misses the body, and is never refused for it."""
    held = ROLE_PERMISSIONS[role]
    closed = [
        one
        for one in operations
        if one[2].policy.access is Access.PLATFORM_ADMIN
        or (one[2].policy.access is Access.PERMISSION and one[2].policy.permission not in held)
    ]
    opened = [one for one in operations if one[2].policy.permission in held]
    assert len(opened) > 80 or role not in ("owner", "admin")
    assert len(closed) > 5
    async with product.client(product.made.tenant_token(uuid4(), role=role)) as client:
        assert await _answers(client, closed) == {_cell(one): 403 for one in closed}
        passed = await _answers(client, opened)
    assert {cell: status for cell, status in passed.items() if status in (401, 403, 405) or status >= 500} == {}


async def test_a_platform_administrator_reads_what_tenants_and_the_platform_have(
    product: Product, operations: list[tuple[str, str, Row]]
) -> None:
    reads = [
        one
        for one in operations
        if one[0] == "GET" and one[2].policy.access in (Access.PERMISSION, Access.PLATFORM_ADMIN)
    ]
    async with product.client(product.made.platform_token(), **{"x-tenant-id": str(uuid4())}) as client:
        passed = await _answers(client, reads)
    assert {cell: status for cell, status in passed.items() if status in (401, 403, 405) or status >= 500} == {}


def _cell(operation: tuple[str, str, Row]) -> str:
    return f"{operation[0]} {operation[1]}"


async def _answers(client: httpx.AsyncClient, operations: list[tuple[str, str, Row]]) -> dict[str, int]:
    """The status of each operation, called without a body."""
    turns = asyncio.Semaphore(8)

    async def status(method: str, path: str) -> int:
        async with turns:
            return (await client.request(method, path)).status_code

    found: list[Any] = await asyncio.gather(*(status(method, path) for method, path, _ in operations))
    return dict(zip(map(_cell, operations), found, strict=True))
