"""The table in docs/guides/decisions.md that shows how thresholds work together is what is decided."""

import re
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from service.domain import Action, Match, Policy, Reference, Work
from service.matching.decide import Thresholds, Upload, decide
from service.settings import Settings

GUIDE = (Path(__file__).parents[2] / "docs/guides/decisions.md").read_text()
HEADER = re.compile(r"^\| The work's policy \| (.+) \|$", re.MULTILINE)
ROW = re.compile(r"^\| `ACTION_(\w+)`(?:, `min_probability` ([\d.]+))? \| (.+) \|$", re.MULTILINE)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = UUID(int=1)
THRESHOLDS = Thresholds(
    Settings.model_fields["review_threshold"].default, Settings.model_fields["action_threshold"].default
)
(COLUMNS,) = HEADER.findall(GUIDE)
PROBABILITIES = [float(column.removeprefix("at ")) for column in COLUMNS.split(" | ")]
CASES = [
    (Policy(action=Action[action], min_probability=float(least) if least else None), probability, cell)
    for action, least, cells in ROW.findall(GUIDE)
    if cells.count("|") == len(PROBABILITIES) - 1
    for probability, cell in zip(PROBABILITIES, cells.split(" | "), strict=True)
]


def match(probability: float, policy: Policy) -> Match:
    return Match(
        work=Work(ID, "studio", None, "", {}, policy, None, 1, 1, NOW, NOW, 1),
        reference=Reference(ID, ID, "", "image", None, 0, (), NOW, 1),
        probability=probability,
        signals={},
        segments=(),
        regions=(),
        query_coverage=1.0,
        work_coverage=1.0,
    )


def test_the_table_was_read() -> None:
    assert len(CASES) == 15


@pytest.mark.parametrize(("policy", "probability", "cell"), CASES)
def test_a_cell_says_what_is_asked_for(policy: Policy, probability: float, cell: str) -> None:
    verdict, _ = decide([match(probability, policy)], THRESHOLDS, Upload("", (), NOW), "test")
    documented = Action.ALLOW if cell == "nothing" else Action[cell.strip("`").removeprefix("ACTION_")]
    assert verdict.action is documented
