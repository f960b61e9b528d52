"""Nothing tells which accounts exist: not the words, not the statements that run, not the hash that is computed."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from random import Random
from typing import Any

import asyncpg
import bcrypt
import pytest
from argon2 import PasswordHasher

from tenants.domain.people import UserStatus
from tenants.passwords import Passwords

from .sign_in_records import a_member, a_tenant, a_user, an_owner, mails, public

LIMITS = "DELETE FROM rate_limits"


@contextmanager
def watched(patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What runs meanwhile: the text of each statement, `hash` for each hash, `bcrypt` for each of an older kind."""
    seen: list[str] = []
    execute, with_arguments, check, check_imported = (
        asyncpg.Connection.execute,
        asyncpg.Connection._execute,  # type: ignore[attr-defined]  # every query with arguments ends there
        Passwords._argon2,
        Passwords._bcrypt,
    )

    async def watched_execute(self: Any, query: str, *args: Any, **options: Any) -> Any:
        if not args:
            seen.append(query)
        return await execute(self, query, *args, **options)

    async def watched_arguments(self: Any, query: str, *args: Any, **options: Any) -> Any:
        seen.append(query)
        return await with_arguments(self, query, *args, **options)

    def watched_check(self: Passwords, password: str, stored: str) -> bool:
        seen.append("hash")
        return check(self, password, stored)

    def watched_imported(self: Passwords, password: str, stored: str) -> bool:
        seen.append("bcrypt")
        return check_imported(self, password, stored)

    with patch.context() as within:
        within.setattr(Passwords, "_bcrypt", watched_imported)
        within.setattr(asyncpg.Connection, "execute", watched_execute)
        within.setattr(asyncpg.Connection, "_execute", watched_arguments)
        within.setattr(Passwords, "_argon2", watched_check)
        yield seen


async def what_it_takes(
    patch: pytest.MonkeyPatch, tenants: Any, path: str, body: dict[str, Any], address: str
) -> tuple[int, dict[str, Any], list[str]]:
    with watched(patch) as seen:
        answer = await public(tenants, path, body, address=address)
    told = {name: value for name, value in answer.json().items() if name != "trace_id"}
    return answer.status_code, told, [" ".join(query.split()).replace("ROLLBACK TO", "RELEASE") for query in seen]


async def test_a_wrong_password_and_an_unknown_account_are_the_same(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenants = await start(ROLE="api")
    await an_owner(tenants.db)
    for status in ("pending", "inactive", "suspended"):
        user = await a_user(tenants.db, f"{status}@example.com", status=UserStatus(status))
        await a_member(tenants.db, user, await a_tenant(tenants.db, status))
    await a_user(tenants.db, "alone@example.com")
    await a_user(tenants.db, "new@example.com", password=None, status=UserStatus.PENDING)
    body = {"email": "nobody@example.com", "password": "wrong password"}
    await what_it_takes(monkeypatch, tenants, "/auth/login", body, "10.0.0.1")  # connections and types are known now
    expected = await what_it_takes(monkeypatch, tenants, "/auth/login", body, "10.0.0.1")
    assert expected[0] == 401
    assert expected[2].count("hash") == 1
    assert len(expected[2]) > 8
    for name in ("ana", "pending", "inactive", "suspended", "alone", "new", "nobody2"):
        email = f"{name}@example.com"
        found = await what_it_takes(monkeypatch, tenants, "/auth/login", body | {"email": email}, "10.0.0.2")
        assert found == expected, name


def kolmogorov_smirnov(first: list[float], second: list[float]) -> float:
    """The probability of two such samples being this far apart while they are of one distribution."""
    ordered = sorted([(value, 1 / len(first)) for value in first] + [(value, -1 / len(second)) for value in second])
    apart = max(abs(step) for step in accumulate(weight for _, weight in ordered))
    scale = apart * math.sqrt(len(first) * len(second) / (len(first) + len(second)))
    return min(1.0, 2 * math.fsum(math.exp(-2 * k * k * scale * scale) * (1 if k % 2 else -1) for k in range(1, 100)))


def work_of(passwords: Passwords, stored: str | None) -> float:
    """What the processor spends on one check, whoever else uses the machine."""
    began = time.thread_time()
    assert not passwords._check("a wrong password", stored)
    return time.thread_time() - began


def test_the_work_of_a_check_does_not_tell_either() -> None:
    """B8: 2,000 timings, Kolmogorov and Smirnov. Of a hash that costs little, so that any other work would show.

    One in a hundred such tests fails by chance, so three would have to. Which of a pair goes first is drawn: the second
    finds the caches as the first left them.
    """
    passwords = Passwords(1)
    cheap = passwords._hasher = PasswordHasher(time_cost=1, memory_cost=256, parallelism=1)
    passwords._nobodys = cheap.hash("nobody's")
    stored = cheap.hash("somebody's")
    draw = Random(8)
    chances = []
    for _ in range(3):
        spent: dict[str | None, list[float]] = {stored: [], None: []}
        for _ in range(1000):
            for account in draw.sample((stored, None), 2):
                spent[account].append(work_of(passwords, account))
        chances.append(kolmogorov_smirnov(*spent.values()))
    assert max(chances) > 0.01, chances


async def test_while_accounts_are_imported_every_check_costs_what_theirs_do(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bcrypt takes ten times as long: who was imported could be told by the clock."""
    tenants = await start(ROLE="api")
    imported = bcrypt.hashpw(b"an old password", bcrypt.gensalt(4)).decode()
    await a_user(tenants.db, "imported@example.com", password_hash=imported)
    await an_owner(tenants.db)
    path, wrong = "/auth/login", {"password": "wrong password"}
    await what_it_takes(monkeypatch, tenants, path, wrong | {"email": "x@example.com"}, "10.0.0.1")
    found = [
        await what_it_takes(monkeypatch, tenants, path, wrong | {"email": f"{name}@example.com"}, "10.0.0.2")
        for name in ("imported", "ana", "nobody")
    ]
    assert found[0][0] == 401
    for status, told, seen in found:
        assert (status, told) == found[0][:2]
        assert sorted(seen) == sorted(found[0][2])
        assert (seen.count("hash"), seen.count("bcrypt")) == (1, 1)
    # Nobody comes in by another's password, though it is compared.
    for email in ("ana@example.com", "nobody@example.com"):
        body = {"email": email, "password": "an old password"}
        assert (await public(tenants, path, body)).status_code == 401
    body = {"email": "imported@example.com", "password": "an old password"}
    assert (await public(tenants, path, body)).status_code == 200
    last = await what_it_takes(monkeypatch, tenants, path, wrong | {"email": "ana@example.com"}, "10.0.0.3")
    assert (last[2].count("hash"), last[2].count("bcrypt")) == (1, 0), "it was the last one, and is upgraded"


async def test_a_limited_account_is_the_same_whether_it_exists(start: Any) -> None:
    tenants = await start(ROLE="api")
    await an_owner(tenants.db)
    answers = []
    for email in ("ana@example.com", "nobody@example.com"):
        for _ in range(8):
            body = {"email": email, "password": "wrong password"}
            assert (await public(tenants, "/auth/login", body)).status_code == 401
        answer = await public(tenants, "/auth/login", {"email": email, "password": "wrong password"})
        answers.append({name: value for name, value in answer.json().items() if name != "trace_id"})
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 113
    assert answers[0] == answers[1]


async def test_a_forgotten_password_is_the_same_for_every_address(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tenants = await start(ROLE="api")
    await an_owner(tenants.db)
    user = await a_user(tenants.db, "suspended@example.com", status=UserStatus.SUSPENDED)
    await a_member(tenants.db, user, await a_tenant(tenants.db, "other"))
    path = "/auth/forgot-password"
    await what_it_takes(monkeypatch, tenants, path, {"email": "x@example.com"}, "10.0.0.1")
    expected = await what_it_takes(monkeypatch, tenants, path, {"email": "nobody@example.com"}, "10.0.0.1")
    assert expected[0] == 200
    for email in ("ana@example.com", "suspended@example.com", "ANA@EXAMPLE.COM", "no address at all"):
        found = await what_it_takes(monkeypatch, tenants, path, {"email": email}, "10.0.0.2")
        assert found[:2] == expected[:2]
        assert [query.split()[0] for query in found[2]] == [query.split()[0] for query in expected[2]], email
    assert [mail["to"]["email"] for mail in await mails(tenants)] == ["ana@example.com"] * 2


async def test_a_registration_is_the_same_for_every_address(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tenants = await start(ROLE="api")
    await an_owner(tenants.db)
    hashes = 0
    hash_of_service = Passwords.hash

    async def counted(self: Passwords, password: str) -> str:
        nonlocal hashes
        hashes += 1
        return await hash_of_service(self, password)

    monkeypatch.setattr(Passwords, "hash", counted)
    answers = []
    for email in ("ana@example.com", "new@example.com"):
        body = {"email": email, "password": "a password of mine", "name": "Ana"}
        answer = await public(tenants, "/auth/register", body)
        answers.append((answer.status_code, answer.json() | {"data": {**answer.json()["data"], "email": "?"}}))
    assert answers[0] == answers[1]
    assert answers[0][0] == 201
    assert hashes == 2
