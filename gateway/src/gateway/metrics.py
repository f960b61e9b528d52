"""What the gateway counts: plain integers on the request's path, turned into Prometheus metrics when asked."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.stalls import SLOW_S
from gateway.upstream.pool import Upstream

_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class RouteCount:
    """The answers of one route by class of status, and how long they took to begin."""

    __slots__ = ("answers", "buckets", "total_s")

    def __init__(self) -> None:
        self.answers = [0] * 6  # index 2 is 2xx; 0 is a client that left
        self.buckets = [0] * (len(_BUCKETS_S) + 1)
        self.total_s = 0.0

    def add(self, status: int, took_s: float) -> None:
        """One more answer."""
        self.answers[status // 100] += 1
        self.buckets[bisect_left(_BUCKETS_S, took_s)] += 1
        self.total_s += took_s


def slow_answers(count: RouteCount) -> int:
    """How many of a route's answers took longer than SLOW_S."""
    return sum(count.buckets[_BUCKETS_S.index(SLOW_S) + 1 :])


class _Gateway(Collector):
    def __init__(
        self,
        routes: Mapping[tuple[str, str, str], RouteCount],
        upstreams: Mapping[str, Upstream],
        refused: dict[str, int],
    ) -> None:
        self._routes = routes
        self._upstreams = upstreams
        self._refused = refused

    def collect(self) -> Iterable[Metric]:
        answers = CounterMetricFamily(
            "gateway_answers", "Answers by route and class of status.", labels=("service", "method", "route", "status")
        )
        durations = HistogramMetricFamily(
            "gateway_request_duration_seconds", "Time until the answer was sent.", labels=("service", "method", "route")
        )
        for labels, count in self._routes.items():
            if not any(count.answers):
                continue
            for klass, number in enumerate(count.answers):
                if number:
                    answers.add_metric((*labels, f"{klass}xx" if klass else "gone"), number)
            seen, buckets = 0, []
            for bound, number in zip((*map(str, _BUCKETS_S), "+Inf"), count.buckets, strict=True):
                seen += number
                buckets.append((bound, seen))
            durations.add_metric(labels, buckets, count.total_s)
        yield answers
        yield durations
        refused = CounterMetricFamily(
            "gateway_refusals", "Requests refused at the edge, by problem code.", labels=("code",)
        )
        for code, number in self._refused.items():
            refused.add_metric((code,), number)
        yield refused
        connections = GaugeMetricFamily("gateway_upstream_connections", "Connections.", labels=("service", "state"))
        breakers = GaugeMetricFamily("gateway_breaker_open", "1 while calls are paused.", labels=("service",))
        for service, upstream in self._upstreams.items():
            idle, busy = upstream.connections
            connections.add_metric((service, "idle"), idle)
            connections.add_metric((service, "busy"), busy)
            breakers.add_metric((service,), 0 if upstream.breaker.state == "closed" else 1)
        yield connections
        yield breakers


def registry_of(
    routes: Mapping[tuple[str, str, str], RouteCount], upstreams: Mapping[str, Upstream], refused: dict[str, int]
) -> CollectorRegistry:
    """The gateway's own registry."""
    registry = CollectorRegistry()
    registry.register(_Gateway(routes, upstreams, refused))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry
