"""The embedded Postgres keeps committed data over kill -9 and takes over what a killed run left behind."""

import asyncio
import os
from pathlib import Path

import asyncpg

from testkit.embedded.place import unprivileged_account
from testkit.embedded.postgres import EmbeddedPostgres
from testkit.embedded.process import alive


async def _fetch(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_committed_rows_survive_a_crash_at_the_same_url(private_postgres: EmbeddedPostgres) -> None:
    url = private_postgres.url
    await _fetch(url, "CREATE TABLE kept (id int)")
    await _fetch(url, "INSERT INTO kept VALUES (7)")
    private_postgres.crash()
    assert private_postgres.start() == url
    assert await _fetch(url, "SELECT id FROM kept") == 7


async def test_a_new_run_ends_the_server_of_a_killed_one(private_postgres: EmbeddedPostgres) -> None:
    orphan = private_postgres.pid
    assert orphan is not None
    successor = EmbeddedPostgres(private_postgres._directory, durable=False)
    successor.start()
    try:
        assert not alive(orphan)
        assert await _fetch(successor.url, "SELECT 1") == 1
    finally:
        successor.stop()


async def test_it_speaks_scram_only_and_never_runs_as_root(private_postgres: EmbeddedPostgres) -> None:
    assert await _fetch(private_postgres.url, "SHOW password_encryption") == "scram-sha-256"
    assert await _fetch(private_postgres.url, "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'trust'") == 0
    await asyncio.to_thread(_assert_unprivileged, private_postgres.pid)


def _assert_unprivileged(pid: int | None) -> None:
    account = unprivileged_account()
    owner = Path(f"/proc/{pid}").stat().st_uid
    assert owner == (account.uid if account else os.geteuid()) != 0
