"""Links inside the documentation lead somewhere, and every page can be reached."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings make, as code hosts spell them."""
    headings = HEADING.findall(page.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    """The page's links to places in the repository."""
    found = LINK.findall(CODE.sub("", page.read_text()))
    return [link for link in found if "://" not in link and not link.startswith("mailto:")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_exist(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.relative_to(ROOT)} links to {link}"
        assert target.is_relative_to(ROOT), f"{page.relative_to(ROOT)} links out of the repository: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.relative_to(ROOT)} links to {link}"


def test_every_page_of_docs_is_reached_from_the_index() -> None:
    index = ROOT / "docs/README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    missing = {page for page in PAGES if page.is_relative_to(ROOT / "docs") and page != index} - linked
    assert not missing, f"docs/README.md does not link to {sorted(page.name for page in missing)}"


def test_readme_leads_to_the_index() -> None:
    assert "docs/README.md" in links(ROOT / "README.md")
