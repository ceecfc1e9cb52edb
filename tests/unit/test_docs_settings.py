"""docs/guides/settings.md and service/settings.py say the same."""

import re
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from service.settings import Settings

GUIDE = Path(__file__).parents[2] / "docs/guides/settings.md"
ROW = re.compile(r"^\| `(COPYHOUND_[A-Z_]+)` \| (.+?) \| (.+) \|$", re.MULTILINE)
DOCUMENTED = {name: (default, meaning) for name, default, meaning in ROW.findall(GUIDE.read_text())}


def variable(name: str) -> str:
    return f"COPYHOUND_{name.upper()}"


def shown_default(field: FieldInfo) -> str:
    """The default as the guide has to show it."""
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None or str(field.default) == "":
        return "none"
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return f"`{field.default}`"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_setting_is_documented_with_its_default(name: str) -> None:
    assert variable(name) in DOCUMENTED, f"add a row for {variable(name)} to {GUIDE.name}"
    default, meaning = DOCUMENTED[variable(name)]
    assert default == shown_default(Settings.model_fields[name])
    assert meaning.endswith(".")


def test_guide_documents_no_setting_that_does_not_exist() -> None:
    assert DOCUMENTED.keys() == {variable(name) for name in Settings.model_fields}
