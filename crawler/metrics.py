"""Prometheus metrics of a crawler, in a registry of their own. docs/guides/crawler.md describes each."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from crawler.frontier import Outcome, State

_MOST_HOSTS = 200
"""Hosts whose pauses are told: each is a time series."""


class _Delays(Collector):
    """Pauses of the hosts that are asked now, read when somebody looks."""

    def __init__(self) -> None:
        self.read: Callable[[], Iterable[tuple[str, float]]] = tuple

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Give them, the longest first."""
        family = GaugeMetricFamily(
            "copyhound_crawler_host_delay_seconds", "Pause between requests to a host", labels=("host",)
        )
        longest = sorted(self.read(), key=lambda one: (-one[1], one[0]))[:_MOST_HOSTS]
        for host, seconds in longest:
            family.add_metric((host,), seconds)
        return [family]


class CrawlerMetrics:
    """Meters of one crawler.

    Attributes:
        pages: Pages that were read.
        media: Media that pages named for the first time in a run.
        captures: Captures that were made.
        sightings: Contents that were seen again.
        received: Bytes received.
        errors: URLs that failed for good, by what failed.
        refused: URLs that were left out, by why.
        retried: Attempts that failed in a way that may pass.
        waiting: URLs that wait.
        outbox: Captures that wait for the service, and their bytes.
        away: Whether the service cannot be reached.
    """

    def __init__(self) -> None:
        """Make the meters."""
        self.registry = CollectorRegistry()
        registry = self.registry
        self.pages = Counter("copyhound_crawler_pages", "Pages that were read", registry=registry)
        self.media = Counter(
            "copyhound_crawler_media", "Media that were named for the first time in a run", registry=registry
        )
        self.captures = Counter("copyhound_crawler_captures", "Captures that were made", registry=registry)
        self.sightings = Counter(
            "copyhound_crawler_sightings", "Contents that were seen again", registry=registry
        )
        self.received = Counter("copyhound_crawler_received_bytes", "Bytes received", registry=registry)
        self.errors = Counter(
            "copyhound_crawler_errors", "URLs that failed for good", ("cause",), registry=registry
        )
        self.refused = Counter(
            "copyhound_crawler_refused", "URLs that were left out", ("cause",), registry=registry
        )
        self.retried = Counter(
            "copyhound_crawler_retried",
            "Attempts that failed in a way that may pass",
            ("cause",),
            registry=registry,
        )
        self.waiting = Gauge("copyhound_crawler_waiting", "URLs that wait", registry=registry)
        self.outbox = Gauge(
            "copyhound_crawler_outbox", "Captures that wait for the service", ("what",), registry=registry
        )
        self.away = Gauge(
            "copyhound_crawler_service_away",
            "Whether something waits that the service could not take",
            registry=registry,
        )
        self._delays = _Delays()
        registry.register(self._delays)

    def note(self, outcome: Outcome, media: int) -> None:
        """Count what became of a task.

        Args:
            outcome: What became of it.
            media: Media that it named for the first time.
        """
        self.pages.inc(outcome.page)
        self.media.inc(media)
        self.captures.inc(outcome.header is not None)
        self.sightings.inc(outcome.seen is not None)
        self.received.inc(outcome.received + sum(outcome.elsewhere.values()))
        counters = {State.FAILED: self.errors, State.LEFT_OUT: self.refused, State.WAITING: self.retried}
        if outcome.state in counters:
            counters[outcome.state].labels(outcome.cause or "other").inc()

    def read_delays(self, read: Callable[[], Iterable[tuple[str, float]]]) -> None:
        """Say where the pauses of hosts are: (host, seconds) each."""
        self._delays.read = read

    def serve(self, address: str) -> tuple[int, Callable[[], None]]:
        """Serve the metrics over HTTP; return the port and a function that stops it.

        Args:
            address: HOST:PORT.

        Raises:
            OSError: If that cannot be listened on.
            ValueError: If it is no address.
        """
        host, _, port = address.rpartition(":")
        server, thread = start_http_server(int(port), host, self.registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return server.server_port, stop
