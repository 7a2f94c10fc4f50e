"""What `/metrics` tells, in Prometheus' text format: the live state now, and counters of this HTTP surface."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from coordinator.views import LiveState

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class HttpMetrics:
    """One registry per app, so that two apps in one process do not count together."""

    def __init__(self, live: LiveState) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Live(live))
        self._responses = Counter(
            "gogrid_http_responses", "HTTP responses by status code.", ["code"], registry=self._registry
        )
        self._by_status: dict[int, Counter] = {}
        """The library looks a label up under a lock, each time."""
        self._first_token = Histogram(
            "gogrid_time_to_first_token_seconds",
            "From request to the first token of a streamed answer.",
            buckets=_BUCKETS_S,
            registry=self._registry,
        )

    def responded(self, status: int) -> None:
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._responses.labels(status)
        counter.inc()

    def first_token(self, seconds: float) -> None:
        self._first_token.observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Live(Collector):
    def __init__(self, live: LiveState) -> None:
        self._live = live

    def collect(self) -> Iterable[Metric]:
        now = self._live.statistics()
        workers = self._live.workers()
        yield GaugeMetricFamily("gogrid_jobs_queued", "Jobs that wait for a worker.", now.queued)
        yield GaugeMetricFamily("gogrid_jobs_running", "Jobs on a worker now.", now.running)
        yield GaugeMetricFamily("gogrid_workers_known", "Workers that have joined.", len(workers))
        yield GaugeMetricFamily(
            "gogrid_workers_connected", "Workers connected now.", sum(view.connected for view in workers)
        )
        yield CounterMetricFamily("gogrid_jobs_accepted", "Jobs accepted since start.", now.accepted)
        ended = CounterMetricFamily("gogrid_jobs_ended", "Jobs ended since start, by how.", labels=["state"])
        ended.add_metric(["done"], now.finished)
        ended.add_metric(["failed"], now.failed)
        ended.add_metric(["cancelled"], now.cancelled)
        yield ended
        yield CounterMetricFamily("gogrid_jobs_dead", "Jobs given up since start because they crash.", now.dead)
        yield CounterMetricFamily(
            "gogrid_job_crashes", "Leases of jobs that ended by a crash since start.", now.crashes
        )
        yield CounterMetricFamily(
            "gogrid_results_fenced", "Results refused since start: they came too late.", now.fenced
        )
        tokens = CounterMetricFamily("gogrid_tokens", "Tokens since start.", labels=["direction"])
        tokens.add_metric(["in"], now.tokens_in)
        tokens.add_metric(["out"], now.tokens_out)
        yield tokens
