"""Owns test databases: one migrated template per service and run, one copy of it per test."""

import itertools
import os
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from chassis.migrate import migrate
from chassis.settings import Secret

_serial = itertools.count(1)

# A role's settings in a database belong to that database and do not follow into a copy of it. A list (search_path)
# is stored with its items quoted already; anything else is one literal.
_SETTINGS_TO_COPY = """
SELECT CASE split_part(setting, '=', 1)
         WHEN 'search_path'
         THEN format('ALTER ROLE %I IN DATABASE %I SET search_path TO ', r.rolname, $2::text)
              || substr(setting, strpos(setting, '=') + 1)
         ELSE format('ALTER ROLE %I IN DATABASE %I SET %I TO %L', r.rolname, $2::text, split_part(setting, '=', 1),
                     substr(setting, strpos(setting, '=') + 1))
       END
  FROM pg_db_role_setting s
  JOIN pg_roles r ON r.oid = s.setrole
  JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) AS setting
 WHERE d.datname = $1
"""


class Databases:
    """Makes databases on one server and drops them; `db_role_secret` is what the services' passwords derive from."""

    def __init__(self, server_url: str, db_role_secret: str) -> None:
        self.server_url = server_url
        self.db_role_secret = db_role_secret
        self._templates: dict[str, str] = {}
        self._made: list[str] = []

    async def fresh(self) -> str:
        """The owner's URL of a new, empty database."""
        return await self._create("template0")

    async def of_service(self, package: str) -> str:
        """The owner's URL of a new database with this service's schema, migrated once per run and then copied."""
        if package not in self._templates:
            template_url = await self._create("template0")
            await migrate(template_url, package, Secret(self.db_role_secret))
            self._templates[package] = database_name(template_url)
        return await self._create(self._templates[package])

    async def drop(self, url: str) -> None:
        """Drop a database, ending the sessions that a test left open in it."""
        name = database_name(url)
        connection = await asyncpg.connect(self.server_url)
        try:
            await connection.execute(
                await connection.fetchval("SELECT format('DROP DATABASE IF EXISTS %I WITH (FORCE)', $1::text)", name)
            )
        finally:
            await connection.close()
        self._made.remove(name)

    async def drop_all(self) -> None:
        """Drop everything that was made here: the server may be one that was given to us."""
        for name in list(self._made):
            await self.drop(with_database(self.server_url, name))
        self._templates.clear()

    async def _create(self, template: str) -> str:
        name = f"test_{os.getpid()}_{next(_serial)}"
        connection = await asyncpg.connect(self.server_url)
        try:
            # Not through the write-ahead log, Postgres' default: copying the files takes a half of the time or less.
            create = "SELECT format('CREATE DATABASE %I TEMPLATE %I STRATEGY FILE_COPY', $1::text, $2::text)"
            await connection.execute(await connection.fetchval(create, name, template))
            self._made.append(name)
            for (statement,) in await connection.fetch(_SETTINGS_TO_COPY, template, name):
                await connection.execute(statement)
        finally:
            await connection.close()
        return with_database(self.server_url, name)


def with_database(url: str, name: str) -> str:
    """The same server and user, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def database_name(url: str) -> str:
    """The database that a URL names."""
    return urlsplit(url).path.removeprefix("/")
