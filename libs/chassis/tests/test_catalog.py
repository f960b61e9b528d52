"""What pg_catalog must say of every service's schema: each list of violations is empty."""

import importlib.util
from pathlib import Path

import asyncpg
import pytest

from chassis.db import Database, schema_of
from chassis.migrate import migrate
from chassis.settings import Secret

ROOT = Path(__file__).parents[3]
SERVICES = ["sample", *sorted(schema_of(path.parent.name) for path in ROOT.glob("services/*/pyproject.toml"))]

TABLES = """
WITH tables AS (
  SELECT c.oid, c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS forced, c.relacl,
         split_part(obj_description(c.oid, 'pg_class'), ':', 1) AS kind,
         EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnum > 0
                 AND NOT a.attisdropped) AS has_tenant,
         EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnotnull
                 AND a.atttypid = 'uuid'::regtype) AS needs_tenant
  FROM pg_class c WHERE c.relnamespace = $1::text::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
)
"""
CHECKS = {
    "tables whose COMMENT names no kind": TABLES
    + "SELECT name FROM tables WHERE kind IS NULL OR kind NOT IN ('tenant', 'platform', 'directory')",
    "tenant tables without tenant_id uuid NOT NULL": TABLES
    + "SELECT name FROM tables WHERE kind = 'tenant' AND NOT needs_tenant",
    "tenant tables without FORCE ROW LEVEL SECURITY": TABLES
    + "SELECT name FROM tables WHERE kind = 'tenant' AND NOT forced",
    "tables with tenant_id NOT NULL that are no tenant table": TABLES
    + "SELECT name FROM tables WHERE needs_tenant AND kind NOT IN ('tenant', 'directory')",
    "tenant tables without a policy": TABLES
    + "SELECT name FROM tables t WHERE kind = 'tenant' AND NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = t.oid)",
    "policies that write without WITH CHECK": """
        SELECT polrelid::regclass || '.' || polname FROM pg_policy JOIN pg_class c ON c.oid = polrelid
        WHERE c.relnamespace = $1::text::regnamespace AND polcmd IN ('*', 'a', 'w') AND polwithcheck IS NULL""",
    "policies that show everything to the app role": """
        SELECT polrelid::regclass || '.' || polname FROM pg_policy JOIN pg_class c ON c.oid = polrelid
        WHERE c.relnamespace = $1::text::regnamespace AND polpermissive
          AND (polroles = '{0}' OR polroles && ARRAY(SELECT oid FROM pg_roles WHERE rolname = $1::text || '_app'))
          AND (pg_get_expr(polqual, polrelid) = 'true' OR pg_get_expr(polwithcheck, polrelid) = 'true')""",
    "policies that cast an empty tenant": """
        SELECT polrelid::regclass || '.' || polname FROM pg_policy JOIN pg_class c ON c.oid = polrelid
        WHERE c.relnamespace = $1::text::regnamespace
          AND concat(pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) LIKE '%app.tenant_id%'
          AND concat(pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) NOT ILIKE '%NULLIF%'""",
    "keys and uniqueness of tenant tables without tenant_id": TABLES
    + """
        SELECT i.indexrelid::regclass::text FROM tables t JOIN pg_index i ON i.indrelid = t.oid AND i.indisunique
        WHERE t.kind = 'tenant' AND NOT EXISTS (
          SELECT FROM pg_attribute a
          WHERE a.attrelid = t.oid AND a.attname = 'tenant_id' AND a.attnum = ANY (i.indkey))""",
    "foreign keys between tenant tables without tenant_id": TABLES
    + """
        SELECT k.conname FROM pg_constraint k JOIN tables t ON t.oid = k.conrelid JOIN tables f ON f.oid = k.confrelid
        WHERE k.contype = 'f' AND t.kind = 'tenant' AND f.kind = 'tenant' AND NOT EXISTS (
          SELECT FROM pg_attribute a JOIN pg_attribute b ON b.attrelid = f.oid AND b.attname = 'tenant_id'
          WHERE a.attrelid = t.oid AND a.attname = 'tenant_id'
            AND array_position(k.conkey, a.attnum) = array_position(k.confkey, b.attnum))""",
    "materialized views": "SELECT relname FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relkind = 'm'",
    "views without security_invoker": """
        SELECT relname FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relkind = 'v'
        AND NOT COALESCE(reloptions @> '{security_invoker=true}' OR reloptions @> '{security_invoker=on}', false)""",
    "definer functions": "SELECT proname FROM pg_proc WHERE pronamespace = $1::text::regnamespace AND prosecdef",
    "functions that anybody may call": """
        SELECT proname FROM pg_proc WHERE pronamespace = $1::text::regnamespace
        AND EXISTS (SELECT FROM aclexplode(COALESCE(proacl, acldefault('f', proowner))) WHERE grantee = 0)""",
    "grants to PUBLIC": """
        SELECT relname FROM pg_class, aclexplode(relacl) WHERE relnamespace = $1::text::regnamespace AND grantee = 0
        UNION ALL SELECT nspname FROM pg_namespace, aclexplode(nspacl) WHERE nspname = $1::text AND grantee = 0""",
    "rights of the app role beyond rows": """
        SELECT relname || ' ' || privilege_type
        FROM pg_class, aclexplode(relacl) x JOIN pg_roles r ON r.oid = x.grantee
        WHERE relnamespace = $1::text::regnamespace AND r.rolname = $1::text || '_app'
          AND privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'USAGE')""",
    "tables that a service role owns": """
        SELECT relname FROM pg_class JOIN pg_roles r ON r.oid = relowner
        WHERE relnamespace = $1::text::regnamespace AND relkind IN ('r', 'p', 'v')
          AND r.rolname <> $1::text || '_owner'""",
    "roles that may too much": """
        SELECT rolname FROM pg_roles
        WHERE rolname IN ($1::text || '_app', $1::text || '_platform', $1::text || '_relay')
        AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolinherit OR NOT rolcanlogin)""",
    "roles that reach another's rights": """
        SELECT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
        WHERE r.rolname IN ($1::text || '_app', $1::text || '_platform', $1::text || '_relay')""",
}


async def violations(connection: "asyncpg.Connection[asyncpg.Record]", schema: str) -> dict[str, list[str]]:
    """What is wrong with a service's schema, by check; empty when nothing is."""
    found = {name: [row[0] for row in await connection.fetch(sql, schema)] for name, sql in CHECKS.items()}
    return {name: names for name, names in found.items() if names}


@pytest.mark.parametrize("schema", SERVICES)
async def test_every_services_schema(schema: str, database_url: str, db_role_secret: str) -> None:
    assert importlib.util.find_spec(schema), f"{schema} is not installed"
    await migrate(database_url, schema, Secret(db_role_secret))
    connection = await asyncpg.connect(database_url)
    try:
        assert await violations(connection, schema) == {}
    finally:
        await connection.close()


BROKEN = {
    "CREATE TABLE bad (id int)": "tables whose COMMENT names no kind",
    "CREATE TABLE bad (id int); COMMENT ON TABLE bad IS 'tenant: x'": "tenant tables without tenant_id uuid NOT NULL",
    "CREATE TABLE bad (tenant_id uuid NOT NULL); COMMENT ON TABLE bad IS 'platform: x'": (
        "tables with tenant_id NOT NULL that are no tenant table"
    ),
    "CREATE TABLE bad (tenant_id uuid NOT NULL); COMMENT ON TABLE bad IS 'tenant: x'": (
        "tenant tables without FORCE ROW LEVEL SECURITY"
    ),
    "ALTER TABLE notes NO FORCE ROW LEVEL SECURITY": "tenant tables without FORCE ROW LEVEL SECURITY",
    "DROP POLICY notes_of_tenant ON notes": "tenant tables without a policy",
    "CREATE POLICY bad ON notes FOR UPDATE USING (false)": "policies that write without WITH CHECK",
    "CREATE POLICY bad ON notes USING (true) WITH CHECK (true)": "policies that show everything to the app role",
    "CREATE POLICY bad ON notes FOR SELECT USING (tenant_id = current_setting('app.tenant_id')::uuid)": (
        "policies that cast an empty tenant"
    ),
    "CREATE UNIQUE INDEX bad ON notes (title)": "keys and uniqueness of tenant tables without tenant_id",
    "ALTER TABLE notes ADD UNIQUE (id); ALTER TABLE notes ADD parent uuid REFERENCES notes (id)": (
        "foreign keys between tenant tables without tenant_id"
    ),
    "CREATE MATERIALIZED VIEW bad AS SELECT 1": "materialized views",
    "CREATE VIEW bad AS SELECT * FROM notes": "views without security_invoker",
    "CREATE FUNCTION bad() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'": "definer functions",
    "CREATE FUNCTION bad() RETURNS int LANGUAGE sql AS 'SELECT 1'; GRANT EXECUTE ON FUNCTION bad() TO PUBLIC": (
        "functions that anybody may call"
    ),
    "GRANT SELECT ON notes TO PUBLIC": "grants to PUBLIC",
    "GRANT USAGE ON SCHEMA sample TO PUBLIC": "grants to PUBLIC",
    "GRANT TRUNCATE ON notes TO sample_app": "rights of the app role beyond rows",
    "RESET ROLE; CREATE TABLE bad (); COMMENT ON TABLE bad IS 'platform: x'": "tables that a service role owns",
}


async def test_each_check_finds_what_it_is_for(database_url: str, db_role_secret: str) -> None:
    await migrate(database_url, "sample", Secret(db_role_secret))
    connection = await asyncpg.connect(database_url)
    try:
        for sql, check in BROKEN.items():
            change = connection.transaction()
            await change.start()
            await connection.execute("SET LOCAL search_path = sample; SET LOCAL ROLE sample_owner")
            await connection.execute(sql)
            assert check in await violations(connection, "sample"), sql
            await change.rollback()
        assert await violations(connection, "sample") == {}
    finally:
        await connection.close()


async def test_a_service_cannot_read_another(database_url: str, db_role_secret: str) -> None:
    secret = Secret(db_role_secret)
    await migrate(database_url, "sample", secret)
    other = next((name for name in SERVICES if name != "sample"), None)
    assert other, "there is no second service to look at"
    await migrate(database_url, other, secret)
    for reader, owner in (("sample", other), (other, "sample")):
        db = Database(database_url, reader, secret)
        await db.open()
        for pool in db.pools.values():
            for table in ("migrations", "outbox", "inbox", "dead_letters", "idempotency_keys"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await pool.fetch(f"SELECT * FROM {owner}.{table}")
        await db.close()
