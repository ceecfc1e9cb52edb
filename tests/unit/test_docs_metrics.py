"""docs/guides/operations.md lists every metric, with its kind and labels."""

import re
from pathlib import Path

from service.metrics import Metrics
from service.tracing import NoTracer

GUIDE = Path(__file__).parents[2] / "docs/guides/operations.md"
ROW = re.compile(r"^\| `(copyhound_[a-z_]+)` \| (\w+) \| (.*?) ?\| .+\. \|$", re.MULTILINE)


def test_every_metric_is_documented() -> None:
    families = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in Metrics(NoTracer()).registry.collect()
    }
    assert families == {name: kind for name, kind, _ in ROW.findall(GUIDE.read_text())}
