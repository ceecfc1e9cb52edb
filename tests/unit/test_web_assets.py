"""What browsers are given: what others made is what was looked at, and nothing comes from elsewhere."""

import hashlib
import re
from pathlib import Path

import pytest

from service.web.render import STATIC

TEXTS = sorted(path for path in STATIC.rglob("*") if path.suffix in {".js", ".css", ".svg"})
OURS = [path for path in TEXTS if path.parent.name != "vendor"]


def test_vendored_files_are_those_that_were_looked_at() -> None:
    vendor = STATIC / "vendor"
    noted = (vendor / "README.txt").read_text()
    scripts = list(vendor.glob("*.js"))
    assert scripts
    for path in scripts:
        assert hashlib.sha256(path.read_bytes()).hexdigest() in noted, path.name
        assert (vendor / f"{path.name.partition('.')[0]}.LICENSE.txt").is_file()


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    text = path.read_text()
    addresses = set(re.findall(r"https?://[^\s\"')]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not addresses
    assert not re.search(r"\b(eval|Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write)\b", text)
