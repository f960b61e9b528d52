"""SQL of sign-in, statement by statement, where the routes do not tell one from the next."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from chassis.db import Database, platform_transaction
from tenants import store
from tenants.domain.tokens import sha256_of

from .sign_in_records import THEN, a_member, a_tenant, a_user, an_owner

HOUR = timedelta(hours=1)


async def test_a_link_is_used_for_its_purpose_in_time_and_once(db: Database) -> None:
    user = await a_user(db)
    digest = sha256_of("a link")
    async with platform_transaction(db) as conn:
        await store.links.insert_link(
            conn,
            digest,
            user_id=user.id,
            purpose="reset_password",
            tenant_id=None,
            object_id=None,
            now=THEN,
            lifetime=HOUR,
        )
        for purposes, now in ((["verify_email", "two_factor"], THEN), ([], THEN), (["reset_password"], THEN + HOUR)):
            assert await store.links.find_link(conn, digest, purposes, now) is None
            assert await store.links.use_link(conn, digest, purposes, now) is None
        assert await store.links.use_link(conn, sha256_of("another"), ["reset_password"], THEN) is None
        found = await store.links.find_link(conn, digest, ["set_password", "reset_password"], THEN)
        used = await store.links.use_link(conn, digest, ["set_password", "reset_password"], THEN)
        assert found == used
        assert used is not None
        assert (used.user_id, used.purpose) == (user.id, "reset_password")
        assert await store.links.find_link(conn, digest, ["reset_password"], THEN) is None
        assert await store.links.use_link(conn, digest, ["reset_password"], THEN) is None


async def test_links_are_spent_by_person_and_purpose(db: Database) -> None:
    ana, rui = await a_user(db), await a_user(db, "rui@example.com")
    async with platform_transaction(db) as conn:
        for user in (ana, rui):
            for purpose in ("reset_password", "verify_email"):
                await store.links.insert_link(
                    conn,
                    sha256_of(f"{user.id} {purpose}"),
                    user_id=user.id,
                    purpose=purpose,
                    tenant_id=None,
                    object_id=None,
                    now=THEN,
                    lifetime=HOUR,
                )
        await store.links.spend_links(conn, ana.id, ["reset_password", "set_password"], THEN)
        live = {
            (user.email, purpose)
            for user in (ana, rui)
            for purpose in ("reset_password", "verify_email")
            if await store.links.find_link(conn, sha256_of(f"{user.id} {purpose}"), [purpose], THEN)
        }
    assert live == {
        ("ana@example.com", "verify_email"),
        ("rui@example.com", "reset_password"),
        ("rui@example.com", "verify_email"),
    }


async def test_families_end_one_by_one_by_tenant_and_all(db: Database) -> None:
    user, first = await an_owner(db)
    second = await a_tenant(db, "second")
    other = await a_user(db, "rui@example.com")
    async with platform_transaction(db) as conn:

        async def begin(owner: UUID, tenant_id: UUID | None) -> bytes:
            family_id, digest = uuid4(), sha256_of(str(uuid4()))
            await store.sessions.insert_family(conn, family_id, owner, tenant_id, THEN, THEN + HOUR)
            await store.sessions.insert_refresh_token(conn, digest, family_id, THEN)
            return digest

        async def live() -> list[bool]:
            found = [await store.sessions.find_family_of_token(conn, digest) for digest in digests]
            return [one is not None and one[0].is_live(THEN) for one in found]

        digests = [
            await begin(user.id, first.tenant_id),
            await begin(user.id, first.tenant_id),
            await begin(user.id, second.tenant_id),
            await begin(user.id, None),
            await begin(other.id, None),
        ]
        assert await live() == [True] * 5
        one = await store.sessions.lock_family_of_token(conn, digests[0])
        assert one is not None
        assert one[1] is None
        assert not one[0].is_live(THEN + HOUR)
        await store.sessions.mark_family_revoked(conn, one[0].id, "signed_out", THEN)
        assert await live() == [False, True, True, True, True]
        await store.sessions.move_family(conn, one[0].id, second.tenant_id)
        await store.sessions.mark_families_revoked(conn, user.id, "removed", THEN, second.tenant_id)
        assert await live() == [False, True, False, True, True]
        await store.sessions.mark_families_revoked(conn, user.id, "password_changed", THEN)
        assert await live() == [False, False, False, False, True]
        await store.sessions.mark_token_used(conn, digests[4], b"sealed", THEN)
        spent = await store.sessions.find_family_of_token(conn, digests[4])
        assert spent is not None
        assert spent[1] == THEN
        assert await store.sessions.find_family_of_token(conn, sha256_of("unknown")) is None
        why = await conn.fetch("SELECT revoked_why FROM refresh_families ORDER BY revoked_why NULLS LAST")
    assert [row[0] for row in why] == ["password_changed", "password_changed", "removed", "signed_out", None]


async def test_a_membership_that_somebody_holds_is_left_alone(db: Database) -> None:
    user, tenant = await an_owner(db)
    other = await a_tenant(db, "other")
    await a_member(db, user, other, "user")
    async with platform_transaction(db) as holder:
        await store.memberships.lock_membership(holder, tenant.tenant_id, user.id)
        async with platform_transaction(db) as conn:
            await store.users.mark_signed_in(conn, user.id, tenant.tenant_id, THEN + HOUR)
    async with platform_transaction(db) as conn:
        assert (await store.users.get_user(conn, user.id)).last_sign_in_at == THEN + HOUR
        assert (await store.memberships.get_membership(conn, tenant.tenant_id, user.id)).last_sign_in_at is None
        await store.users.mark_signed_in(conn, user.id, other.tenant_id, THEN + 2 * HOUR)
        held = await store.users.list_belongings(conn, user.id)
    assert {one.tenant.slug: one.membership.last_sign_in_at for one in held} == {
        "acme": None,
        "other": THEN + 2 * HOUR,
    }


async def test_a_second_factor_from_its_set_up_to_its_end(db: Database) -> None:
    user = await a_user(db)
    async with platform_transaction(db) as conn:
        assert await store.totp.lock_second_factor(conn, user.id) is None
        assert not await store.totp.has_second_factor(conn, user.id)
        assert await store.totp.put_secret(conn, user.id, b"first", THEN)
        await store.totp.mark_step_used(conn, user.id, 7)
        assert await store.totp.put_secret(conn, user.id, b"second", THEN)
        factor = await store.totp.lock_second_factor(conn, user.id)
        assert factor is not None
        assert (factor.secret, factor.last_step, factor.enabled_at) == (b"second", 0, None)
        assert not await store.totp.has_second_factor(conn, user.id)
        await store.totp.mark_enabled(conn, user.id, THEN)
        await store.totp.insert_recovery_codes(conn, user.id, [sha256_of("a"), sha256_of("b")])
        assert await store.totp.has_second_factor(conn, user.id)
        assert not await store.totp.put_secret(conn, user.id, b"third", THEN)
        assert await store.totp.use_recovery_code(conn, user.id, sha256_of("a"), THEN)
        assert not await store.totp.use_recovery_code(conn, user.id, sha256_of("a"), THEN)
        assert not await store.totp.use_recovery_code(conn, uuid4(), sha256_of("b"), THEN)
        await store.totp.delete_second_factor(conn, user.id)
        assert not await store.totp.use_recovery_code(conn, user.id, sha256_of("b"), THEN)
        assert await store.totp.lock_second_factor(conn, user.id) is None


@pytest.mark.parametrize("table", ["refresh_families", "refresh_tokens", "one_time_links", "totp_secrets", "users"])
async def test_no_request_of_a_tenant_reads_them(db: Database, table: str) -> None:
    assert not await db.app.fetchval("SELECT has_table_privilege($1, 'SELECT')", table)
    assert await db.platform.fetchval("SELECT has_table_privilege($1, 'SELECT')", table)
