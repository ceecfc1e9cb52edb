"""docs/guides/signals.md lists every signal, with its unit; the guide on decisions every reason."""

import re
from pathlib import Path
from typing import Any

import pytest

from indexers import registry
from indexers.modality import Modality
from service.matching import decide
from service.matching.score import IDENTICAL_FILE

GUIDES = Path(__file__).parents[2] / "docs/guides"
SIGNAL = re.compile(r"^\| `([a-z_]+)` \| (.*?) ?\| ([-\d,.∞ to]+) \| .+\. \|$", re.MULTILINE)
REASON = re.compile(r"^\| `([A-Z_]+)` \| .+ \| .+\. \|$", re.MULTILINE)
DOCUMENTED = {name: unit for name, unit, _ in SIGNAL.findall((GUIDES / "signals.md").read_text())}


@pytest.mark.parametrize("modality", registry.MODALITIES, ids=lambda modality: modality.name)
def test_every_signal_of_a_modality_is_documented_with_its_unit(modality: Modality[Any]) -> None:
    missing = modality.signal_units.keys() - DOCUMENTED.keys()
    assert not missing, f"add a row for each to signals.md: {sorted(missing)}"
    assert modality.signal_units == {name: DOCUMENTED[name] for name in modality.signal_units}


def test_no_signal_is_documented_that_does_not_exist() -> None:
    known = {name for modality in registry.MODALITIES for name in modality.signal_units}
    assert DOCUMENTED.keys() == known | {IDENTICAL_FILE}


def test_every_reason_of_a_decision_is_documented_once() -> None:
    reasons = [name for name, value in vars(decide).items() if name.isupper() and value == name]
    assert sorted(REASON.findall((GUIDES / "decisions.md").read_text())) == sorted(reasons)
