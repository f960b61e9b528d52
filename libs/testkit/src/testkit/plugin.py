"""pytest fixtures over real parts: URL given, else embedded, else a container; each test finds them empty.

TEST_DATABASE_URL (a superuser, or an owner with CREATEDB and CREATEROLE) and TEST_AMQP_URL replace the embedded parts.
They are not called DATABASE_URL and AMQP_URL, because tests delete queues and a shell may have sourced var/local.env.
"""

import os
import resource
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from testkit.databases import Databases
from testkit.embedded.broker import EmbeddedBroker
from testkit.embedded.postgres import EmbeddedPostgres
from testkit.embedded.process import free_port
from testkit.embedded.session import TemporaryServers
from testkit.queues import clear_broker
from testkit.tokens import Identities

ServiceDatabase = Callable[[str], Awaitable[str]]
ServiceEnv = Callable[..., Awaitable[dict[str, str]]]


def pytest_configure() -> None:
    """Let SIGTERM end a run as Ctrl-C does: the servers it started are stopped too. No example has a time to keep to:
    the machine may be busy with others.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A thousand callers at once are a thousand sockets; an ordinary user is given less than they may have.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")


def _scope(test: str) -> str:
    """Whole files go to one worker; those of tests-e2e that share a running product, to the same one."""
    path = test.partition("::")[0]
    if path.startswith("tests-e2e/test_product_"):
        return "the whole product"
    return "gateway and mailer" if path.startswith("tests-e2e/") else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """How `pytest -n` shares out the tests; each worker has servers of its own."""
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = _scope
    return scheduler


def _services(root: Path) -> list[str]:
    """Every service of the checkout; the folder's name is the service's name."""
    return ["gateway", *sorted(path.parent.name for path in root.glob("services/*/pyproject.toml"))]


@pytest.fixture(scope="session")
def temporary_servers(pytestconfig: pytest.Config) -> Iterator[TemporaryServers]:
    """Makes private servers for this run and removes them at its end."""
    servers = TemporaryServers(pytestconfig.rootpath)
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """A superuser's URL of a Postgres for this run."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        return given
    servers: TemporaryServers = request.getfixturevalue("temporary_servers")
    return servers.postgres_url()


@pytest.fixture(scope="session")
def broker_url(request: pytest.FixtureRequest) -> str:
    """A broker for this run, shared by its tests; `amqp_url` is the same one, emptied."""
    if given := os.environ.get("TEST_AMQP_URL"):
        return given
    servers: TemporaryServers = request.getfixturevalue("temporary_servers")
    return servers.broker("shared-broker").start()


@pytest.fixture
def private_postgres(temporary_servers: TemporaryServers) -> Iterator[EmbeddedPostgres]:
    """A started Postgres of this test's own, to be stopped, crashed and started again."""
    cluster = temporary_servers.postgres(f"postgres-{secrets.token_hex(4)}")
    cluster.start()
    yield cluster
    cluster.crash()


@pytest.fixture
def private_broker(temporary_servers: TemporaryServers) -> Iterator[EmbeddedBroker]:
    """A started broker of this test's own, to be stopped, crashed, wiped and started again."""
    broker = temporary_servers.broker(f"broker-{secrets.token_hex(4)}")
    broker.start()
    yield broker
    broker.crash()
    broker.wipe()


@pytest_asyncio.fixture
async def amqp_url(broker_url: str, pytestconfig: pytest.Config) -> str:
    """The run's broker without any queue or exchange of the product; other names a test must make unique itself."""
    await clear_broker(broker_url, _services(pytestconfig.rootpath))
    return broker_url


@pytest.fixture
def unique_name() -> str:
    """A name for queues, exchanges or services that no other test uses."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture(scope="session")
def db_role_secret() -> str:
    """What the passwords of the services' roles derive from; one per server, since roles are the server's."""
    return os.environ.get("TEST_DB_ROLE_SECRET") or secrets.token_urlsafe(48)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def databases(postgres_url: str, db_role_secret: str) -> AsyncIterator[Databases]:
    """Makes databases on the run's Postgres."""
    made = Databases(postgres_url, db_role_secret)
    yield made
    await made.drop_all()


@pytest_asyncio.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """The owner's URL of an empty database for this test."""
    url = await databases.fresh()
    yield url
    await databases.drop(url)


@pytest_asyncio.fixture
async def service_database(databases: Databases) -> AsyncIterator[ServiceDatabase]:
    """`await service_database("mailer")`: the owner's URL of a migrated database for this test."""
    made: list[str] = []

    async def of_service(package: str) -> str:
        made.append(await databases.of_service(package))
        return made[-1]

    yield of_service
    for url in made:
        await databases.drop(url)


@pytest.fixture(scope="session")
def identities() -> Identities:
    """The gateway's keys and the users' JWT secret of this run; mints internal identities and user tokens."""
    return Identities()


@pytest_asyncio.fixture
async def service_env(
    service_database: ServiceDatabase, amqp_url: str, identities: Identities, db_role_secret: str
) -> ServiceEnv:
    """`await service_env("mailer", ROLE="api")`: a whole environment for a service, on a database of its own."""

    async def of_service(package: str, **overrides: str) -> dict[str, str]:
        return {
            "DATABASE_URL": await service_database(package),
            "DB_ROLE_SECRET": db_role_secret,
            "AMQP_URL": amqp_url,
            "INTERNAL_PUBLIC_KEY": identities.public_key,
            "SECRETS_KEY": secrets.token_urlsafe(32),
            "HOST": "127.0.0.1",
            "PORT": str(free_port()),
            "METRICS_PORT": str(free_port()),
            "ENVIRONMENT": "local",
            "LOG_LEVEL": "warning",
        } | overrides

    return of_service
