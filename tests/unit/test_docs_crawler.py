"""docs/guides/crawler.md and crawler/settings.py say the same."""

import re
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from crawler.settings import CrawlerSettings

GUIDE = (Path(__file__).parents[2] / "docs/guides/crawler.md").read_text()
ROW = re.compile(r"^\| `(COPYHOUND_CRAWLER_[A-Z_]+)` \| (.+?) \| (.+) \|$", re.MULTILINE)
DOCUMENTED = {name: (default, meaning) for name, default, meaning in ROW.findall(GUIDE)}


def shown_default(field: FieldInfo) -> str:
    """The default as the guide has to show it."""
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None or field.default in ("", ()):
        return "none"
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return f"`{field.default}`"


@pytest.mark.parametrize("name", CrawlerSettings.model_fields)
def test_setting_is_documented_with_its_default(name: str) -> None:
    default, meaning = DOCUMENTED[f"COPYHOUND_CRAWLER_{name.upper()}"]
    assert default == shown_default(CrawlerSettings.model_fields[name])
    assert meaning.endswith(".")


def test_guide_documents_no_setting_that_does_not_exist() -> None:
    assert DOCUMENTED.keys() == {f"COPYHOUND_CRAWLER_{name.upper()}" for name in CrawlerSettings.model_fields}
