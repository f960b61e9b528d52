"""Composition root: environment -> verifier, table, upstreams -> the edge, ready to be served."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec

from chassis import logs
from chassis.health import Health
from chassis.identity import IdentitySigner
from chassis.serve import ServedApp
from chassis.settings import SettingsError, load, secrets_of
from chassis.telemetry import span_starter
from gateway.access import Door
from gateway.access_book import AccessBook
from gateway.access_sync import AccessSync
from gateway.breaker import Breaker
from gateway.cors import Origins
from gateway.docs import Docs
from gateway.edge import Edge, Endpoint
from gateway.headers import Proxies
from gateway.identity import IdentityHeaders
from gateway.mailed_links import mailed_link_pages
from gateway.match import Matcher
from gateway.metrics import RouteCount, registry_of
from gateway.pages import Page
from gateway.policy import rows_of
from gateway.rate_limit import RateLimit
from gateway.routes import ROUTES
from gateway.routes.row import Access, Row
from gateway.server import edge_http
from gateway.settings import GatewaySettings
from gateway.tokens import Claims, TokenVerifier
from gateway.upstream.pool import Limits, Upstream
from gateway.watch import Watch

#: Routes that are given longer (reports, models, provisioning) may be slow without anything being wrong.
_QUICK_WITHIN_S = 30.0


def build(env: Mapping[str, str], table: Mapping[str, tuple[Row, ...]] = ROUTES) -> ServedApp:
    """The gateway for this environment. Raises SettingsError."""
    settings = load(GatewaySettings, env)
    logs.install(settings.log_level, secrets_of(settings))
    return _assemble(settings, table)


@contextmanager
def _naming(variable: str) -> Iterator[None]:
    """Turns the ValueError of what is built from `variable` into a refusal that names it."""
    try:
        yield
    except ValueError as error:
        raise SettingsError([f"{variable} is refused: {error}"]) from None


def _assemble(settings: GatewaySettings, table: Mapping[str, tuple[Row, ...]]) -> ServedApp:
    upstreams = _upstreams(settings, table)
    limits = _limits(settings)
    counts: dict[tuple[str, str, str], RouteCount] = {}
    refused: dict[str, int] = {}
    matcher: Matcher[Endpoint] = Matcher()
    providers: set[str] = set()
    for service, method, row in rows_of(table):
        count = counts[service, method, row.path] = RouteCount()
        matcher.add(method, row.path, Endpoint(row, service, upstreams.get(service), limits[row.policy.access], count))
        providers.add(row.policy.provider or "")
    book = AccessBook(expects_snapshot="tenants" in upstreams)
    health = Health({"access": book.missing})
    with _naming("CORS_ORIGINS"):
        origins = Origins(settings.cors_origins)
    with _naming("TRUSTED_PROXIES"):
        proxies = Proxies(settings.trusted_proxies)
    with _naming("INTERNAL_SIGNING_KEY"):
        identities = IdentityHeaders(IdentitySigner(settings.internal_signing_key.reveal()))
    docs = Docs(table, upstreams, identities)
    sync = _sync(settings, book, upstreams, identities)
    verifier = _verifier(settings, book)
    book.on_change = verifier.forget
    endpoint = settings.otel_exporter_otlp_endpoint
    edge = Edge(
        matcher=matcher,
        pages=_pages(health, docs),
        door=Door(verifier, origins, providers, book),
        origins=origins,
        proxies=proxies,
        identities=identities,
        address_limit=limits[Access.PUBLIC],
        health=health,
        start_span=span_starter("gateway", endpoint) if endpoint else None,
        refused=refused,
        upstreams=tuple(upstreams.values()),
        sync=sync,
        watch=_watch(settings, table, upstreams, counts, sync),
    )
    return ServedApp(
        name="gateway",
        app=edge,
        host=settings.host,
        port=settings.port,
        metrics_host=settings.metrics_host,
        metrics_port=settings.metrics_port,
        registry=registry_of(counts, upstreams, refused),
        health=health,
        drain_wait_s=settings.drain_wait_s,
        shutdown_grace_s=settings.shutdown_grace_s,
        http=edge_http(),
    )


def _upstreams(settings: GatewaySettings, table: Mapping[str, tuple[Row, ...]]) -> dict[str, Upstream]:
    limits = Limits(
        max_connections=settings.upstream_connections,
        connect_s=settings.upstream_connect_s,
        connect_budget_s=settings.upstream_connect_budget_s,
        idle_s=settings.upstream_idle_s,
        total_s=settings.upstream_total_s,
    )
    found: dict[str, Upstream] = {}
    for service in table:
        name = "upstream_" + service.replace("-", "_")
        url = getattr(settings, name)
        if url:
            with _naming(name.upper()):
                found[service] = Upstream(service, url, limits, Breaker(cool_down_s=settings.breaker_cool_down_s))
    return found


def _limits(settings: GatewaySettings) -> dict[Access, RateLimit]:
    window_s = settings.rate_limit_window_s
    named = RateLimit(settings.rate_limit_requests, window_s)
    anonymous = RateLimit(settings.rate_limit_anonymous_requests, window_s)
    # Providers send from few addresses and give up on those that refuse them: they have a limit of their own.
    webhooks = RateLimit(settings.rate_limit_webhook_requests, window_s)
    special = {Access.PUBLIC: anonymous, Access.API_KEY: named, Access.WEBHOOK: webhooks}
    return {access: special.get(access, named) for access in Access}


def _sync(
    settings: GatewaySettings, book: AccessBook, upstreams: Mapping[str, Upstream], identities: IdentityHeaders
) -> AccessSync | None:
    tenants = upstreams.get("tenants")
    if tenants is None or settings.amqp_url is None:
        return None
    return AccessSync(book, tenants, identities, settings.amqp_url.reveal())


def _watch(
    settings: GatewaySettings,
    table: Mapping[str, tuple[Row, ...]],
    upstreams: Mapping[str, Upstream],
    counts: Mapping[tuple[str, str, str], RouteCount],
    sync: AccessSync | None,
) -> Watch | None:
    if sync is None:
        return None
    by_service: dict[str, tuple[list[RouteCount], list[RouteCount]]] = {name: ([], []) for name in upstreams}
    for service, method, row in rows_of(table):
        if service in upstreams:
            every, quick = by_service[service]
            every.append(counts[service, method, row.path])
            if row.timeout_s <= _QUICK_WITHIN_S:
                quick.append(counts[service, method, row.path])
    return Watch(upstreams, by_service, sync.publish, settings.admin_email)


def _verifier(settings: GatewaySettings, book: AccessBook) -> TokenVerifier:
    secrets = [settings.jwt_secret, *([settings.jwt_secret_previous] if settings.jwt_secret_previous else [])]
    return TokenVerifier(
        [secret.reveal() for secret in secrets],
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        claims=Claims(
            subject=settings.jwt_claim_subject,
            tenant=settings.jwt_claim_tenant,
            tenants=settings.jwt_claim_tenants,
            roles=settings.jwt_claim_roles,
            permissions=settings.jwt_claim_permissions,
        ),
        platform_admin_roles=frozenset(settings.platform_admin_roles),
        book=book,
    )


def _pages(health: Health, docs: Docs) -> dict[bytes, Page]:
    json = b"application/json"

    async def status() -> tuple[int, bytes, bytes]:
        # Seed 002's shape, which its monitors read.
        return 200, json, msgspec.json.encode({"status": "ok", "timestamp": datetime.now(UTC)})

    async def live() -> tuple[int, bytes, bytes]:
        code, body = health.live()
        return code, json, body

    async def ready() -> tuple[int, bytes, bytes]:
        code, body = await health.ready()
        return code, json, body

    pages: dict[bytes, Page] = {b"/health": status, b"/health/live": live, b"/health/ready": ready}
    pages |= docs.pages() | mailed_link_pages()
    return pages | {b"/api" + path: page for path, page in pages.items()}
