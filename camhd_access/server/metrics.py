"""Metrics for Prometheus. Labels have few values, none of which a client can choose.

`cache_requests_total`, `cache_misses_total` and `cache_size` have the names of go-lazycache, which never
incremented them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from camhd_access._version import __version__
from camhd_access.caching import LRUCache
from camhd_access.server.imagestore import ImageStore
from camhd_access.server.limits import Gate
from camhd_access.server.mirrors import Mirror

__all__ = ["Metrics"]

SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_PREFIX = "camhd_access"


class Metrics:
    """The counters of one server."""

    def __init__(
        self,
        *,
        mirrors: Sequence[Mirror],
        memories: Mapping[str, LRUCache[Any, Any]],
        gates: Mapping[str, Gate],
        store: ImageStore | None,
    ) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            f"{_PREFIX}_requests", "Requests answered.", ("route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            f"{_PREFIX}_request_seconds",
            "Time from the request's headers to those of its response.",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._bytes = Counter(
            f"{_PREFIX}_response_bytes", "Bytes of response bodies.", ("route",), registry=self.registry
        )
        build = Gauge(f"{_PREFIX}_build_info", "Version of the server.", ("version",), registry=self.registry)
        build.labels(__version__).set(1)
        ProcessCollector(registry=self.registry)
        self.registry.register(_Watcher(lambda: _watch_memories(memories)))
        self.registry.register(_Watcher(lambda: _watch_gates(gates)))
        self.registry.register(_Watcher(lambda: _watch_mirrors(mirrors)))
        if store is not None:
            self.registry.register(_Watcher(lambda: _watch_store(store)))

    def count(self, route: str, status: int, seconds: float, n_bytes: int) -> None:
        """Count one response."""
        self._requests.labels(route, f"{status // 100}xx").inc()
        self._seconds.labels(route).observe(seconds)
        self._bytes.labels(route).inc(n_bytes)

    def tell(self) -> bytes:
        """All metrics, in Prometheus' text format."""
        return generate_latest(self.registry)


class _Watcher(Collector):
    """Metrics from other counters, read on demand."""

    def __init__(self, watch: Callable[[], Iterator[Metric]]) -> None:
        self._watch = watch

    def collect(self) -> Iterator[Metric]:
        return self._watch()


def _watch_memories(memories: Mapping[str, LRUCache[Any, Any]]) -> Iterator[Metric]:
    asked = CounterMetricFamily("cache_requests", "Look-ups in the caches in memory.", labels=("store",))
    missed = CounterMetricFamily("cache_misses", "Look-ups that found nothing.", labels=("store",))
    held = GaugeMetricFamily(
        "cache_size", "Size: bytes of made files, else number of items.", labels=("store",)
    )
    for store, memory in memories.items():
        asked.add_metric((store,), memory.n_asked)
        missed.add_metric((store,), memory.n_missed)
        held.add_metric((store,), memory.weight)
    yield from (asked, missed, held)


def _watch_gates(gates: Mapping[str, Gate]) -> Iterator[Metric]:
    running = GaugeMetricFamily(f"{_PREFIX}_work_running", "Work in progress.", labels=("gate",))
    waiting = GaugeMetricFamily(f"{_PREFIX}_work_waiting", "Work in the queue.", labels=("gate",))
    passed = CounterMetricFamily(f"{_PREFIX}_work", "Work started so far.", labels=("gate",))
    refused = CounterMetricFamily(f"{_PREFIX}_work_refused", "Work rejected so far.", labels=("gate",))
    for name, gate in gates.items():
        running.add_metric((name,), gate.n_running)
        waiting.add_metric((name,), gate.n_waiting)
        passed.add_metric((name,), gate.n_passed)
        refused.add_metric((name,), gate.n_refused)
    yield from (running, waiting, passed, refused)


def _watch_mirrors(mirrors: Sequence[Mirror]) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        f"{_PREFIX}_mirror_requests", "Requests to the mirror.", labels=("mirror",)
    )
    retries = CounterMetricFamily(f"{_PREFIX}_mirror_retries", "Retries.", labels=("mirror",))
    n_bytes = CounterMetricFamily(f"{_PREFIX}_mirror_bytes", "Bytes from the mirror.", labels=("mirror",))
    for mirror in mirrors:
        stats = mirror.filesystem.fs.stats
        requests.add_metric((mirror.mount_path,), stats.requests)
        retries.add_metric((mirror.mount_path,), stats.retries)
        n_bytes.add_metric((mirror.mount_path,), stats.bytes)
    yield from (requests, retries, n_bytes)


def _watch_store(store: ImageStore) -> Iterator[Metric]:
    yield GaugeMetricFamily(f"{_PREFIX}_image_store_bytes", "Bytes of stored images.", store.n_bytes)
    yield GaugeMetricFamily(f"{_PREFIX}_image_store_pictures", "Stored images.", store.n_pictures)
    yield CounterMetricFamily(f"{_PREFIX}_image_store_failures", "Failures of the store.", store.n_failures)
