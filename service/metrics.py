"""What the service counts and times, in Prometheus' terms. docs/guides/operations.md lists them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from service.tracing import Tracer

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The service's meters, in a registry of their own: several services fit into one process.

    Attributes:
        rpcs: Seconds of a call, by method and gRPC status code.
        stages: Seconds of a stage of registering and matching.
        queue: Media items that wait for a worker.
        deaths: Worker processes that died or were killed, by reason.
        commits: Changes that shared one commit.
        descriptors: Findable descriptors by scheme.
        unfolded: Delta and tombstones by scheme: what the next snapshot folds in.
        sequence: Last change that queries see.
        lag: Committed changes that queries do not see yet.
        runs: Runs of monitoring lists that have not ended, by state.
        crawled: What crawlers reported of runs, by what: pages, media, captures, bytes, errors, refused.
        captures: Captures that were handed over, by whether they were there before.
        contents: Captured contents, by whether they could be read.
        suspects_waiting: Contents that wait to be read or matched.
        reports: Match reports, by what led to them: a capture or a registration.
        webhooks: Attempts to tell a webhook, by how they ended.
        previews: Previews, by whether they could be made.
        previews_waiting: Previews that are still to be made.
        cases: Cases, by state.
        decisions: Decisions that were made, by what they say; those that were undone, too.
        undone: Decisions that were undone, by what they said.
        leases: Cases that somebody has.
        oldest_open: Seconds since the newest report of the open case that waits longest.
        suppressed: References and works that are suppressed, by which of both.
    """

    def __init__(self, tracer: Tracer) -> None:
        """Make the meters; stages are traced as spans too."""
        self._tracer = tracer
        self.registry = CollectorRegistry()
        self.rpcs = Histogram(
            "copyhound_rpc_seconds",
            "Seconds of a call",
            ("method", "code"),
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.stages = Histogram(
            "copyhound_stage_seconds",
            "Seconds of a stage of registering and matching",
            ("stage",),
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._stages: dict[str, Histogram] = {}
        self.queue = Gauge(
            "copyhound_queue_length", "Media items that wait for a worker", registry=self.registry
        )
        self.deaths = Counter(
            "copyhound_worker_deaths",
            "Worker processes that died or were killed",
            ("reason",),
            registry=self.registry,
        )
        self.commits = Histogram(
            "copyhound_commit_changes",
            "Changes that shared one commit",
            registry=self.registry,
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
        )
        self.descriptors = Gauge(
            "copyhound_index_descriptors", "Findable descriptors", ("scheme",), registry=self.registry
        )
        self.unfolded = Gauge(
            "copyhound_index_unfolded",
            "Added and deleted descriptors that the next snapshot folds in",
            ("scheme",),
            registry=self.registry,
        )
        self.sequence = Gauge(
            "copyhound_index_sequence", "Last change that queries see", registry=self.registry
        )
        self.lag = Gauge(
            "copyhound_index_lag", "Committed changes that queries do not see yet", registry=self.registry
        )

        self.runs = Gauge(
            "copyhound_runs",
            "Runs of monitoring lists that have not ended",
            ("state",),
            registry=self.registry,
        )
        self.crawled = Counter(
            "copyhound_crawled", "What crawlers reported of runs", ("what",), registry=self.registry
        )
        self.captures = Counter(
            "copyhound_captures", "Captures that were handed over", ("result",), registry=self.registry
        )
        self.contents = Counter(
            "copyhound_contents", "Captured contents that were read", ("result",), registry=self.registry
        )
        self.suspects_waiting = Gauge(
            "copyhound_suspects_waiting",
            "Captured contents that wait to be read or matched",
            ("stage",),
            registry=self.registry,
        )
        self.reports = Counter(
            "copyhound_reports", "Match reports that were made", ("cause",), registry=self.registry
        )
        self.webhooks = Counter(
            "copyhound_webhook_attempts", "Attempts to tell a webhook", ("result",), registry=self.registry
        )
        self.previews = Counter(
            "copyhound_previews", "Previews that were tried", ("result",), registry=self.registry
        )
        self.previews_waiting = Gauge(
            "copyhound_previews_waiting", "Previews that are still to be made", registry=self.registry
        )

        self.cases = Gauge("copyhound_cases", "Cases", ("state",), registry=self.registry)
        self.decisions = Gauge(
            "copyhound_decisions", "Decisions that were made", ("outcome",), registry=self.registry
        )
        self.undone = Gauge(
            "copyhound_decisions_undone", "Decisions that were undone", ("outcome",), registry=self.registry
        )
        self.leases = Gauge("copyhound_case_leases", "Cases that somebody has", registry=self.registry)
        self.oldest_open = Gauge(
            "copyhound_oldest_open_case_seconds",
            "Seconds since the newest report of the open case that waits longest",
            registry=self.registry,
        )
        self.suppressed = Gauge(
            "copyhound_suppressed",
            "References and works that are suppressed",
            ("kind",),
            registry=self.registry,
        )

    def span(self, name: str) -> AbstractContextManager[Any]:
        """Trace what happens inside as a span; the stages inside become its children."""
        return self._tracer.span(name)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside as one stage, and trace it as a span."""
        start = perf_counter()
        with self._tracer.span(name):
            try:
                yield
            finally:
                self.observe(name, perf_counter() - start)

    def observe(self, stage: str, seconds: float) -> None:
        """Note how long a stage took."""
        known = self._stages.get(stage)
        if known is None:
            known = self._stages[stage] = self.stages.labels(stage)
        known.observe(seconds)

    def serve(self, host: str, port: int) -> tuple[int, Callable[[], None]]:
        """Serve the metrics over HTTP; return the port and a function that stops it."""
        server, thread = start_http_server(port, host, self.registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return server.server_port, stop
