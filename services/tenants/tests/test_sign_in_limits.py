"""How often somebody may guess: exact however many come at once, per account and per address."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from chassis.db import Database, platform_transaction
from contracts.errors import ServiceError, TooManyRequests, Unavailable
from tenants import store
from tenants.access_tokens import AccessTokens
from tenants.domain.callers import Caller, caller
from tenants.domain.sign_in import SignInTerms
from tenants.domain.sign_in_limits import ACCOUNT, ADDRESS
from tenants.passwords import Passwords
from tenants.usecases.sign_in import sign_in
from tenants.usecases.take_tries import take_tries

from .sign_in_records import PASSWORD, THEN, a_user, an_owner, log_in, public

TERMS = SignInTerms(
    refresh_lifetime=timedelta(days=30), reset_lifetime=timedelta(minutes=30), frontend_url="https://app.example.com"
)
TOKENS = AccessTokens("Zk3v9Qw8Lr2Tn5Xy7Bc1Df4Gh6Jm0PqsUv", lifetime_s=900, issuer=None, audience=None)


class CountingPasswords(Passwords):
    """Compares without a hash, and counts how often it is asked."""

    def __init__(self, *, right: bool = False, busy: bool = False) -> None:
        super().__init__(1)
        self.asked = 0
        self.right = right
        self.busy = busy

    async def check(self, password: str, stored: str | None, *, imported: str | None = None) -> bool:
        self.asked += 1
        await asyncio.sleep(0)
        if self.busy:
            raise Unavailable("Too many sign-ins are under way.", code="busy")
        return self.right

    def is_current(self, stored: str) -> bool:
        return True


async def attempt(db: Database, passwords: Passwords, email: str, address: str) -> str:
    """The error's code, or `ok`; who found the database busy asks again, as anybody would."""
    while True:
        try:
            await sign_in(
                db,
                email,
                "a guess",
                tenant_id=None,
                passwords=passwords,
                tokens=TOKENS,
                terms=TERMS,
                caller=Caller(address=address),
                now=THEN,
            )
        except ServiceError as error:
            if error.code != "database_busy":
                return error.code
        else:
            return "ok"


async def test_a_thousand_guesses_at_once_at_one_account(db: Database) -> None:
    """From a thousand addresses: a botnet gets as many tries as one caller."""
    await a_user(db)
    passwords = CountingPasswords()
    outcomes = await asyncio.gather(
        *(attempt(db, passwords, "ana@example.com", f"10.1.{n // 250}.{n % 250}") for n in range(1000))
    )
    # On a loaded machine the database may be busy once more after the hash: that one was compared, and asks in vain.
    assert passwords.asked == ACCOUNT.tries == 8
    assert outcomes.count("invalid_credentials") <= 8
    assert outcomes.count("invalid_credentials") + outcomes.count("too_many_tries") == 1000


async def test_a_thousand_guesses_at_once_from_one_address(db: Database) -> None:
    """At a thousand accounts, of which hardly any exist: spraying one password."""
    await a_user(db, "user7@example.com")
    passwords = CountingPasswords()
    outcomes = await asyncio.gather(
        *(attempt(db, passwords, f"user{n}@example.com", "203.0.113.7") for n in range(1000))
    )
    assert passwords.asked == ADDRESS.tries == 40
    assert outcomes.count("invalid_credentials") <= 40
    assert outcomes.count("invalid_credentials") + outcomes.count("too_many_tries") == 1000


async def test_a_used_up_account_refuses_the_right_password_too(start: Any) -> None:
    tenants = await start(ROLE="api")
    await an_owner(tenants.db)
    await a_user(tenants.db, "rui@example.com")
    for n in range(8):
        answer = await public(
            tenants, "/auth/login", {"email": "ana@example.com", "password": "wrong"}, address=f"10.0.0.{n}"
        )
        assert answer.status_code == 401
    answer = await public(
        tenants, "/auth/login", {"email": "Ana@Example.com", "password": PASSWORD}, address="10.9.9.9"
    )
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_tries")
    assert int(answer.headers["retry-after"]) > 0
    await log_in(tenants, "rui@example.com")


async def test_only_failures_count(start: Any) -> None:
    tenants = await start(ROLE="api")
    await an_owner(tenants.db)
    for _ in range(3):
        for _ in range(7):
            answer = await public(tenants, "/auth/login", {"email": "ana@example.com", "password": "wrong"})
            assert answer.status_code == 401
        await log_in(tenants)
    async with platform_transaction(tenants.db) as conn:
        left = await _tries_left(conn, ADDRESS, "203.0.113.7")
    assert left == ADDRESS.tries - 21, "a success gives its own try back to the address, and no more"


async def test_whoever_waits_in_vain_for_a_hash_has_not_tried(db: Database) -> None:
    await a_user(db)
    passwords = CountingPasswords(busy=True)
    for _ in range(ACCOUNT.tries + 1):
        assert await attempt(db, passwords, "ana@example.com", "203.0.113.7") == "busy"
    async with platform_transaction(db) as conn:
        assert await _tries_left(conn, ADDRESS, "203.0.113.7") == ADDRESS.tries
        await conn.execute("DELETE FROM rate_limits")
    passwords.busy, passwords.right = False, True
    assert await attempt(db, passwords, "ana@example.com", "203.0.113.7") == "ok"


async def test_the_tries_come_back_one_by_one(db: Database) -> None:
    for _ in range(8):
        await take_tries(db, (ACCOUNT, "ana@example.com"))
    with pytest.raises(ServiceError) as refusal:
        await take_tries(db, (ACCOUNT, "ana@example.com"))
    assert 111 <= (refusal.value.retry_after_s or 0) <= 113, "900 seconds for eight"
    async with platform_transaction(db) as conn:
        await conn.execute("UPDATE rate_limits SET tat = tat - interval '113 seconds'")
    await take_tries(db, (ACCOUNT, "ana@example.com"))
    with pytest.raises(ServiceError):
        await take_tries(db, (ACCOUNT, "ana@example.com"))


async def test_what_the_wider_limit_counted_stays_counted(db: Database) -> None:
    for n in range(10):
        tries = take_tries(db, (ADDRESS, "203.0.113.7"), (ACCOUNT, "ana@example.com"))
        if n < ACCOUNT.tries:
            await tries
            continue
        with pytest.raises(TooManyRequests):
            await tries
    async with platform_transaction(db) as conn:
        assert await _tries_left(conn, ADDRESS, "203.0.113.7") == ADDRESS.tries - 10


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("203.0.113.7, 10.0.0.1", "unknown"),
        ("203.0.113.07", "unknown"),
        ("", "unknown"),
        ("unknown", "unknown"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_what_counts_as_one_address(address: str, network: str) -> None:
    assert caller(address, None).network == network


async def test_an_address_that_is_none_gets_no_tries_of_its_own(start: Any) -> None:
    """Nobody but the gateway writes the header; were it odd, everybody odd would share one limit."""
    tenants = await start(ROLE="api")
    for n in range(41):
        answer = await public(
            tenants,
            "/auth/login",
            {"email": f"user{n}@example.com", "password": "wrong"},
            address=f"203.0.113.7, 10.0.0.{n}",
        )
        assert answer.status_code == (401 if n < 40 else 429)


async def _tries_left(conn: Any, limit: Any, who: str) -> int:
    left = 0
    while await store.tries.take_try(conn, limit.key(who), limit.emission, limit.tolerance) is None:
        left += 1
    return left
