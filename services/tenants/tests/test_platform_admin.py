"""The operator's command: who administers the platform, said once however often it is run, and taken back."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from chassis.db import platform_transaction
from contracts.tenancy import PLATFORM_TENANT_ID
from tenants import store
from tenants.app import build, main
from tenants.domain.people import User, UserStatus
from testkit.plugin import ServiceEnv
from testkit.service import RunningService, running
from testkit.tokens import Identities

from .people import at_work, person
from .sign_in_records import PASSWORD, a_member, a_tenant, a_user, an_owner, log_in, mails, public, token_in

ROOT = "root@example.com"


class Operator:
    """The service at work, and its command line beside it."""

    def __init__(self, tenants: RunningService, env: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
        self.tenants = tenants
        self.db = tenants.db
        self.env = env
        self._capsys = capsys

    async def said(self, *arguments: str, code: int = 0) -> str:
        """What the command wrote, once it ended with that exit code."""

        def run() -> int | str | None:
            try:
                return main(["platform-admin", *arguments], self.env)
            except SystemExit as bad_usage:
                return bad_usage.code

        self._capsys.readouterr()
        ended = await asyncio.to_thread(run)
        out, err = self._capsys.readouterr()
        assert ended == code, out + err
        assert (out if code else err) == ""
        return err if code else out

    async def user(self, email: str = ROOT) -> User:
        """Whose address it is."""
        async with platform_transaction(self.db) as conn:
            found = await store.users.find_user_by_email(conn, email)
        assert found is not None
        return found

    async def deeds(self) -> list[dict[str, Any]]:
        """What the audit log is told of administrators."""
        told = await self.tenants.told("tenants.audit.recorded.v1")
        return [record for record in told if record["action"].startswith("administrator.")]

    async def told(self, user_id: UUID) -> list[tuple[str, str, str]]:
        """What is told of a person as the platform's: event, role and status."""
        return [
            (event["_type"].split(".")[2], event["role"], event["status"])
            for event in await self.tenants.told(*(f"tenants.user.{kind}.v1" for kind in ("created", "updated")))
            if event["user_id"] == str(user_id) and event["tenant_id"] == str(PLATFORM_TENANT_ID)
        ]


@pytest_asyncio.fixture
async def operator(
    service_env: ServiceEnv, identities: Identities, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Operator]:
    env = await service_env("tenants", JWT_SECRET=identities.jwt_secret, ROLE="api", SHUTDOWN_GRACE_S="5")
    async with running("tenants", build(env), identities) as tenants:
        yield Operator(tenants, env, capsys)


async def chosen(operator: Operator, email: str = ROOT) -> dict[str, Any]:
    """A session of who chose a password by the newest link that was mailed."""
    link = token_in((await mails(operator.tenants, "account_welcome"))[-1])
    answer = await public(operator.tenants, f"/auth/reset-password/{link}", {"password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return await log_in(operator.tenants, email)


async def test_a_stranger_becomes_one_and_twice_is_once(operator: Operator) -> None:
    said = await operator.said(" Root@Example.com ", "Rute Souza")
    root = await operator.user()
    assert said == (
        f"{ROOT}: a platform administrator; new account {root.id};"
        " a link to choose a password is on its way, good for 7 days\n"
    )
    assert (root.name, root.status, root.is_platform_admin) == ("Rute Souza", UserStatus.ACTIVE, True)
    assert root.password_hash is None
    assert "already; the link mailed before still works" in await operator.said(ROOT, "Another Name")
    assert await operator.user() == root
    [mail] = await mails(operator.tenants)
    assert (mail["template"], mail["to"]["email"]) == ("account_welcome", ROOT)
    assert (mail["variables"]["name"], mail["variables"]["brand_name"]) == ("Rute Souza", "Backoffice")
    assert await operator.told(root.id) == [("created", "superadmin", "active")]
    [deed] = await operator.deeds()
    assert (deed["action"], deed["tenant_id"]) == ("administrator.appointed", str(PLATFORM_TENANT_ID))
    assert deed["actor"] == {"type": "service", "id": "operator", "name": None}
    assert [(target["type"], target["id"]) for target in deed["targets"]] == [("user", str(root.id))]
    assert ROOT not in str(deed)
    session = await chosen(operator)
    assert (session["user"]["role"], session["user"]["tenantId"]) == ("superadmin", None)
    assert await operator.said(ROOT) == f"{ROOT}: a platform administrator already\n"
    assert len(await operator.deeds()) == 1


async def test_two_runs_at_once_are_one(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    await asyncio.gather(*(asyncio.to_thread(main, ["platform-admin", ROOT], operator.env) for _ in range(4)))
    assert capsys.readouterr().out.count("new account") == 1
    assert (len(await operator.deeds()), len(await mails(operator.tenants))) == (1, 1)


async def test_who_lost_the_mail_gets_another(operator: Operator) -> None:
    await operator.said(ROOT)
    assert (await operator.user()).name == "root"
    await public(operator.tenants, "/auth/forgot-password", {"email": ROOT})
    assert [mail["template"] for mail in await mails(operator.tenants)] == ["account_welcome", "account_reset"]
    async with platform_transaction(operator.db) as conn:
        await conn.execute("UPDATE one_time_links SET expires_at = created_at + interval '1 microsecond'")
    assert "a link to choose a password is on its way" in await operator.said(ROOT)
    assert len(await operator.deeds()) == 1, "a link is no appointment"
    await chosen(operator)


async def test_a_member_keeps_password_and_memberships(operator: Operator) -> None:
    ana, tenant = await an_owner(operator.db)
    session = await log_in(operator.tenants)
    said = await operator.said("ana@example.com", "Not Her Name")
    assert said == "ana@example.com: a platform administrator; signs in with the password they have\n"
    assert await mails(operator.tenants) == []
    now_is = await person(operator.db, ana)
    assert (now_is.name, now_is.password_hash, now_is.is_platform_admin) == (ana.name, ana.password_hash, True)
    assert await operator.told(ana.id) == [("updated", "superadmin", "active")]
    spent = await public(operator.tenants, "/auth/refresh", {"refreshToken": session["refreshToken"]})
    assert spent.status_code == 401, "what was signed in before has not got it"
    assert (await log_in(operator.tenants))["user"]["role"] == "superadmin"
    seat = (await log_in(operator.tenants, tenantId=str(tenant.tenant_id)))["user"]
    assert (seat["role"], seat["tenantId"]) == ("owner", str(tenant.tenant_id))


@pytest.mark.parametrize(
    ("status", "was_one"), [(UserStatus.PENDING, False), (UserStatus.ACTIVE, False), (UserStatus.ACTIVE, True)]
)
async def test_whoever_registered_the_address_first_gets_nothing(
    operator: Operator, status: UserStatus, was_one: bool
) -> None:
    """Also where a line of SQL had made that account an administrator's."""
    squatter = await a_user(operator.db, ROOT, status=status, email_verified_at=None, is_platform_admin=was_one)
    assert "a link to choose a password is on its way" in await operator.said(ROOT)
    assert (await person(operator.db, squatter)).password_hash is None
    refused = await public(operator.tenants, "/auth/login", {"email": ROOT, "password": PASSWORD})
    assert refused.status_code == 401
    assert (await chosen(operator))["user"]["role"] == "superadmin"


async def test_nor_does_an_administrator_of_a_tenant_who_set_the_password(operator: Operator) -> None:
    ana, tenant = await an_owner(operator.db)
    root = await a_user(operator.db, ROOT)
    await a_member(operator.db, root, tenant, "user")
    body = {"json": {"password": "known-to-the-owner"}}
    assert (await at_work(operator.tenants, ana, tenant, "PATCH", f"/users/{root.id}", **body)).status_code == 200
    assert "a link to choose a password is on its way" in await operator.said(ROOT)
    refused = await public(operator.tenants, "/auth/login", {"email": ROOT, "password": "known-to-the-owner"})
    assert refused.status_code == 401


async def test_one_who_waits_for_a_password_is_let_in(operator: Operator) -> None:
    """Also one whom nobody but a line of SQL had made an administrator."""
    waiting = await a_user(operator.db, ROOT, password=None, status=UserStatus.PENDING, is_platform_admin=True)
    await a_member(operator.db, waiting, await a_tenant(operator.db), "user")
    await operator.said(ROOT)
    assert (await person(operator.db, waiting)).status is UserStatus.ACTIVE
    assert (await chosen(operator))["user"]["tenantId"] is None


async def test_what_was_given_is_taken_back(operator: Operator) -> None:
    ana, tenant = await an_owner(operator.db)
    await operator.said("ana@example.com")
    session = await log_in(operator.tenants)
    assert await operator.said("--revoke", "ANA@example.com") == "ana@example.com: no longer a platform administrator\n"
    now_is = await person(operator.db, ana)
    assert (now_is.is_platform_admin, now_is.status) == (False, UserStatus.ACTIVE)
    ended = await public(operator.tenants, "/auth/refresh", {"refreshToken": session["refreshToken"]})
    assert ended.status_code == 401
    assert (await operator.told(ana.id))[-1] == ("updated", "guest", "active")
    assert (await log_in(operator.tenants))["user"]["tenantId"] == str(tenant.tenant_id)
    again = await operator.said("ana@example.com", "--revoke")
    assert again == "ana@example.com: no platform administrator; nothing changed\n"
    assert [(one["action"], one["actor"]["id"]) for one in await operator.deeds()] == [
        ("administrator.appointed", "operator"),
        ("administrator.dismissed", "operator"),
    ]
    assert "nobody here has the address eve@example.com" in await operator.said("--revoke", "eve@example.com", code=2)


@pytest.mark.parametrize("status", [UserStatus.SUSPENDED, UserStatus.INACTIVE])
async def test_who_was_shut_out_stays_out(operator: Operator, status: UserStatus) -> None:
    out = await a_user(operator.db, ROOT, status=status)
    assert f"The account of {ROOT} is {status}." in await operator.said(ROOT, code=2)
    assert await person(operator.db, out) == out
    assert await operator.deeds() == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "required: email"),
        (["root"], "email is not an e-mail address"),
        (["root@\udcff.example"], "email is not an e-mail address"),
        ([ROOT, "Rute", "Souza"], "unrecognized arguments: Souza"),
        ([ROOT, "  "], "a name has 1 to 120 printable characters"),
        ([ROOT, "x" * 121], "a name has 1 to 120 printable characters"),
        ([ROOT, "Ru\nte"], "a name has 1 to 120 printable characters"),
        ([ROOT, "Ru\udcffte"], "a name has 1 to 120 printable characters"),
    ],
    ids=["nothing", "no address", "no text", "two names", "blank", "long", "two lines", "no text in the name"],
)
async def test_what_is_refused(operator: Operator, arguments: list[str], why: str) -> None:
    assert why in await operator.said(*arguments, code=2)
    async with platform_transaction(operator.db) as conn:
        assert await conn.fetchval("SELECT count(*) FROM users") == 0


async def test_a_silent_database_or_none_exits_with_2(service_env: ServiceEnv, identities: Identities) -> None:
    env = await service_env("tenants", JWT_SECRET=identities.jwt_secret)

    def run(**overrides: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "tenants.app", "platform-admin", ROOT],
            env=os.environ | env | overrides,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stderr

    code, said = run(DATABASE_URL="postgresql://127.0.0.1:1/none")
    assert (code, said.startswith("platform-admin: "), "Traceback" in said) == (2, True, False)
    code, said = run(DATABASE_URL="")
    assert (code, "DATABASE_URL is missing" in said, "Traceback" in said) == (2, True, False)
