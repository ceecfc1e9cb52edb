"""Sites with real media, crawled into reports: every copy once, nothing forbidden, whatever is killed."""

from pathlib import Path

import pytest

from benchmarks.quality import bench_monitoring
from benchmarks.quality.monitoring_site import SMOKE, Amounts, library


@pytest.mark.slow
@pytest.mark.parametrize("amounts", [SMOKE, Amounts(pages=40, variants=5, strangers=40, others=2)])
def test_every_copy_is_reported_once_and_nothing_forbidden_fetched(tmp_path: Path, amounts: Amounts) -> None:
    kills = 2 if amounts is SMOKE else 20
    measured = bench_monitoring.measure(tmp_path, library(amounts), amounts, kills)
    for owner in ("calm", "killed"):
        result = measured[owner]
        assert result["missed"] == {}
        assert result["wrong"] == []
        assert result["twice"] == 0
        assert result["reported"] == result["with_every_place"] == result["copies"]
        assert (result["forbidden_reported"], result["forbidden_asked_for"]) == (0, 0)
        assert result["asked_in_traps"]["calendar"] < 100
    assert measured["killed"]["captures"] == measured["calm"]["captures"]
