"""What a crawler counts, and serves to Prometheus."""

import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest

from copyhound.monitor_types import SeenAgain
from crawler.frontier import Outcome, State
from crawler.metrics import CrawlerMetrics
from crawler.run import CrawlerProcess, CrawlError
from crawler.settings import CrawlerSettings

SEEN = SeenAgain(bytes(32), "https://a.example/x.png", datetime(2026, 11, 22, tzinfo=UTC))


def test_outcomes_are_counted_by_cause_and_served() -> None:
    metrics = CrawlerMetrics()
    metrics.note(Outcome(page=True, received=100, elsewhere={"b.example": 20}), 3)
    metrics.note(Outcome(seen=SEEN), 0)
    for state, cause in (
        (State.LEFT_OUT, "robots"),
        (State.LEFT_OUT, "robots"),
        (State.LEFT_OUT, ""),
        (State.FAILED, "status"),
        (State.WAITING, "timeout"),
    ):
        metrics.note(Outcome(state=state, cause=cause), 0)
    metrics.read_delays(lambda: [("a.example", 0.5), ("b.example", 7.0)])
    port, stop = metrics.serve("127.0.0.1:0")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = set(answer.read().decode().splitlines())
    stop()
    assert lines >= {
        "copyhound_crawler_pages_total 1.0",
        "copyhound_crawler_media_total 3.0",
        "copyhound_crawler_sightings_total 1.0",
        "copyhound_crawler_received_bytes_total 120.0",
        'copyhound_crawler_refused_total{cause="robots"} 2.0',
        'copyhound_crawler_refused_total{cause="other"} 1.0',
        'copyhound_crawler_errors_total{cause="status"} 1.0',
        'copyhound_crawler_retried_total{cause="timeout"} 1.0',
        'copyhound_crawler_host_delay_seconds{host="b.example"} 7.0',
    }


@pytest.mark.parametrize("address", ["here", "127.0.0.1:http", "203.0.113.1:9"])
def test_metrics_that_cannot_be_served_are_named(tmp_path: Path, address: str) -> None:
    settings = CrawlerSettings(data=tmp_path, contact="tests@example.org", metrics=address)
    with pytest.raises(CrawlError, match=f"metrics on '{address}' cannot be served"):
        CrawlerProcess(settings)
    CrawlerProcess(settings.model_copy(update={"metrics": ""})).close()
