"""What the service tells of itself: metrics in a registry of its own, and one trace through HTTP and AMQP."""

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bus.trace import current_traceparent
from chassis.db import Pool

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
_LAG_EVERY_S = 0.5
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Span(Protocol):
    """One timed piece of a trace; `traceparent` is what goes on to others."""

    traceparent: str

    def end(self, route: str, status: int) -> None:
        """Ends it, told what it was."""


StartSpan = Callable[[str, str | None], Span]


class PlainSpan:
    """A span that is only an id, for when nobody collects them."""

    def __init__(self, name: str, parent: str | None) -> None:
        """`name` is what the collector would show; `parent` a W3C traceparent, ignored when malformed."""
        known = _TRACEPARENT.fullmatch(parent) if parent else None
        trace_id, flags = known.groups() if known else (secrets.token_hex(16), "01")
        self.name = name
        self.traceparent = f"00-{trace_id}-{secrets.token_hex(8)}-{flags}"

    def end(self, route: str, status: int) -> None:
        """Nothing: nobody collects it."""


def current_trace_id() -> str:
    """The trace that this task works for; zeros outside any."""
    traceparent = current_traceparent.get()
    return traceparent[3:35] if traceparent else "0" * 32


def span_starter(service: str, endpoint: str | None) -> StartSpan:
    """How to start a span: exported over OTLP/HTTP to `endpoint` when there is one."""
    if not endpoint:
        return PlainSpan
    from chassis.otlp import otlp_spans  # costs 20 MB, so only when it is configured

    return otlp_spans(service, endpoint)


class Metrics:
    """The app's registry, and the bus's Signals on it."""

    def __init__(self, pools: Callable[[], dict[str, Pool]]) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Histogram(
            "http_server_request_duration_seconds",
            "Time from the request's head to the end of its answer.",
            ("method", "route", "status"),
            registry=registry,
            buckets=_BUCKETS_S,
        )
        self.in_flight = Gauge("http_server_active_requests", "Requests being answered.", registry=registry)
        self.loop_lag = Gauge("event_loop_lag_seconds", "How late the loop woke a timer.", registry=registry)
        self._published = Counter("bus_published", "Messages that the broker confirmed.", registry=registry)
        self._publish_failed = Counter("bus_publish_failed", "Messages to publish again.", registry=registry)
        self._handled = Histogram(
            "bus_handled_seconds",
            "Time to handle a message.",
            ("queue", "outcome"),
            registry=registry,
            buckets=_BUCKETS_S,
        )
        self._backlog = Gauge("bus_outbox_rows", "Outbox rows not yet published.", registry=registry)
        self._oldest = Gauge("bus_outbox_oldest_seconds", "Age of the oldest of them.", registry=registry)
        self._dead = Counter("bus_dead_letters", "Messages given up on.", ("queue",), registry=registry)
        registry.register(_Pools(pools))
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

    def published(self, n: int) -> None:
        """`n` messages were confirmed by the broker."""
        self._published.inc(n)

    def publish_failed(self, n: int) -> None:
        """`n` messages were not, and stay in the outbox."""
        self._publish_failed.inc(n)

    def handled(self, queue: str, outcome: str, seconds: float) -> None:
        """A message of `queue` ended as `outcome` after `seconds`."""
        self._handled.labels(queue, outcome).observe(seconds)

    def backlog(self, rows: int, oldest_s: float) -> None:
        """`rows` wait in the outbox, the oldest for `oldest_s`."""
        self._backlog.set(rows)
        self._oldest.set(oldest_s)

    def dead(self, queue: str) -> None:
        """A message of `queue` went to the dead letters."""
        self._dead.labels(queue).inc()

    async def watch_loop(self) -> None:
        """Measures the loop's lag until cancelled."""
        while True:
            due = time.monotonic() + _LAG_EVERY_S
            await asyncio.sleep(_LAG_EVERY_S)
            self.loop_lag.set(max(0.0, time.monotonic() - due))


class _Pools(Collector):
    def __init__(self, pools: Callable[[], dict[str, Pool]]) -> None:
        self._pools = pools

    def collect(self) -> Iterable[Metric]:
        size = GaugeMetricFamily("db_pool_connections", "Open connections.", labels=("role", "state"))
        for role, pool in self._pools().items():
            idle = pool.get_idle_size()
            size.add_metric((role, "idle"), idle)
            size.add_metric((role, "used"), pool.get_size() - idle)
        yield size
