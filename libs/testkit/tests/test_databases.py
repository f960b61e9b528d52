"""Each test's database is new, real and gone afterwards."""

import asyncpg

from testkit.databases import Databases


async def test_a_fresh_database_is_empty_and_dropped(databases: Databases) -> None:
    url = await databases.fresh()
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await databases.drop(url)  # although a session is open
    server = await asyncpg.connect(databases.server_url)
    assert not await server.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", url.rpartition("/")[2])
    await server.close()


async def test_settings_of_roles_follow_into_a_copy(databases: Databases) -> None:
    """What migrations set per role and database would be lost in a copied database."""
    template = await databases.fresh()
    name = template.rpartition("/")[2]
    connection = await asyncpg.connect(template)
    await connection.execute("CREATE ROLE settled LOGIN PASSWORD 'settled'")
    for setting in ("search_path TO app, public", "statement_timeout TO '5s'"):
        await connection.execute(f"ALTER ROLE settled IN DATABASE {name} SET {setting}")
    await connection.close()
    databases._templates["settled"] = name

    copy = await databases.of_service("settled")
    connection = await asyncpg.connect(copy, user="settled", password="settled")
    assert await connection.fetchval("SHOW search_path") == "app, public"
    assert await connection.fetchval("SHOW statement_timeout") == "5s"
    await connection.close()
    del databases._templates["settled"]
    await databases.drop(copy)
    await databases.drop(template)
    connection = await asyncpg.connect(databases.server_url)
    await connection.execute("DROP ROLE settled")
    await connection.close()
