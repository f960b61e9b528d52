"""Puts a service together: a plain Litestar of its routes, with everything that all services share."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException

from bus.connection import Broker
from bus.consumer import Consumer, Handler
from chassis import logs
from chassis.body_guard import MAX_BODY_BYTES, StrictRequest
from chassis.clock import Clock, utc_now
from chassis.db import Database
from chassis.edge import Edge
from chassis.health import Health
from chassis.identity import Identity, IdentityVerifier
from chassis.lifecycle import Lifecycle, Resource, Runtime, Worker
from chassis.migrate import migrations_of
from chassis.openapi import openapi_config, openapi_json
from chassis.problems import render
from chassis.routing_guards import Queries, declared_queries, route_guard
from chassis.serve import ServedApp
from chassis.settings import ServiceSettings, secrets_of
from chassis.telemetry import Metrics, span_starter
from contracts.errors import ServiceError


def create_app(
    *,
    name: str,
    settings: ServiceSettings,
    routes: Sequence[Any],
    handlers: Sequence[Handler] = (),
    queues: Sequence[Callable[[Runtime], Consumer]] = (),
    workers: Sequence[Worker] = (),
    resources: Sequence[Resource] = (),
    dependencies: Mapping[str, object] | None = None,
    on_ready: Sequence[Worker] = (),
    clock: Clock = utc_now,
) -> Litestar:
    """The service `name` as a Litestar; how to serve it stands in `app.state.served`.

    `routes` are Litestar handlers; they may take `db`, `identity`, `clock` and each of `dependencies` by name.
    `handlers` are the events it consumes, `queues` build consumers of foreign queues, `workers` run until
    `runtime.stopping`, `resources` are entered before the first request, `on_ready` runs once the database is there.
    """
    logs.install(settings.log_level, secrets_of(settings))
    db = Database(settings.database_url, name, settings.db_role_secret, size=settings.pool_size)
    metrics = Metrics(lambda: db.pools)
    broker = Broker(settings.amqp_url.reveal(), name=name)
    runtime = Runtime(db, broker, clock, metrics, asyncio.Event(), metrics.registry)
    keys = [key for key in (settings.internal_public_key, settings.internal_public_key_previous) if key]
    verifier = IdentityVerifier(keys, name, clock=clock)

    async def keys_loaded() -> str | None:
        return None if keys else "no key"

    lifecycle: Lifecycle
    health = Health(
        {"database": lambda: lifecycle.missing(), "migrations": lambda: lifecycle.unmigrated(), "keys": keys_loaded},
        {"broker": lambda: lifecycle.broker_away()},
    )
    lifecycle = Lifecycle(
        runtime=runtime,
        health=health,
        migrations=migrations_of(db.schema),
        resources=resources,
        handlers=handlers,
        queues=queues,
        workers=workers,
        on_ready=on_ready,
        works=settings.role != "api",
        grace_s=settings.shutdown_grace_s,
    )
    queries: list[Queries] = []
    app = Litestar(
        route_handlers=list(routes) if settings.role != "worker" else [],
        request_class=StrictRequest,
        request_max_body_size=MAX_BODY_BYTES,
        exception_handlers={Exception: render, HTTPException: render, ServiceError: render},
        guards=[route_guard(lambda: queries[0])],
        dependencies={
            "db": Provide(_always(db), use_cache=True),
            "clock": Provide(_always(clock), use_cache=True),
            "identity": Provide(_identity),
            **{key: Provide(_always(value), use_cache=True) for key, value in (dependencies or {}).items()},
        },
        lifespan=[lambda _: lifecycle.run()],
        openapi_config=openapi_config(name),
        logging_config=None,
        debug=False,
    )
    queries.append(declared_queries(app))
    document: list[bytes] = []

    def openapi() -> bytes:
        if not document:
            document.append(openapi_json(app))
        return document[0]

    app.asgi_handler = Edge(
        app.asgi_handler,
        verifier=verifier,
        health=health,
        metrics=metrics,
        start_span=span_starter(name, settings.otel_exporter_otlp_endpoint),
        is_started=lambda: lifecycle.started,
        openapi=openapi,
    )
    app.state.runtime = runtime
    app.state.served = ServedApp(
        name=name,
        app=app,
        host=settings.host,
        port=settings.port,
        metrics_host=settings.metrics_host,
        metrics_port=settings.metrics_port,
        registry=metrics.registry,
        health=health,
        drain_wait_s=settings.drain_wait_s,
        shutdown_grace_s=settings.shutdown_grace_s,
        stop_work=lifecycle.stop_work,
        openapi=openapi,
    )
    return app


def _always(value: object) -> Callable[[], Any]:
    async def provide() -> Any:
        return value

    return provide


async def _identity(request: StrictRequest) -> Identity:
    return request.user
