"""The guides list every metric, with its kind and labels."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from crawler.metrics import CrawlerMetrics
from service.metrics import Metrics
from service.tracing import NoTracer

GUIDES = Path(__file__).parents[2] / "docs/guides"
ROW = re.compile(r"^\| `(copyhound_[a-z_]+)` \| (\w+) \| (.*?) ?\| .+\. \|$", re.MULTILINE)


@pytest.mark.parametrize(
    ("guide", "registry"),
    [("operations.md", Metrics(NoTracer()).registry), ("crawler.md", CrawlerMetrics().registry)],
)
def test_every_metric_is_documented(guide: str, registry: CollectorRegistry) -> None:
    families = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in registry.collect()
    }
    assert families == {name: kind for name, kind, _ in ROW.findall((GUIDES / guide).read_text())}
