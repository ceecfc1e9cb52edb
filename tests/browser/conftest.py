"""What tests with a browser share."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def chromium() -> Path:
    found = shutil.which("chromium")
    assert found
    return Path(found)
