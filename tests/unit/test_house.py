"""The rules of the house that no linter knows."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(PYPROJECT)


def normalised(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements() -> list[str]:
    """Every requirement of the project and its extras but the project itself."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    every = [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]
    return [line for line in every if not line.startswith("copyhound[")]


def distribution(requirement: str) -> str:
    """The normalised name in a requirement."""
    return normalised(re.split(r"[\[<>=~! ]", requirement, maxsplit=1)[0])


def pinned() -> dict[str, str]:
    """Name to version, from constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {normalised(name): version for name, version in pairs}


def test_every_dependency_says_its_licence_or_reason() -> None:
    """Beside each requirement, or above a list that fits on one line."""
    dependencies = PYPROJECT.split("\ndependencies = [")[1].split("\n[project.scripts]")[0]
    unexplained = []
    lines = dependencies.splitlines()
    for number, line in enumerate(lines):
        if re.match(r"^  \"(?!copyhound\[)", line) and not re.search(r"# \S", line):
            unexplained.append(line.strip())
        if re.match(r"^[a-z]+ = \[\".*\"\]$", line) and not lines[number - 1].startswith("# "):
            unexplained.append(line)
    assert not unexplained


def test_every_lint_exception_has_its_reason() -> None:
    ignores = PYPROJECT.split("\nignore = [")[1].split("\n]")[0]
    for line in ignores.strip().splitlines():
        assert re.fullmatch(r'\s*"[A-Z]+[0-9]*",\s+# .+', line), line.strip()


@pytest.mark.parametrize("requirement", requirements())
def test_every_dependency_is_bounded_and_pinned(requirement: str) -> None:
    assert re.search(r">=", requirement), "name the oldest version that works"
    assert distribution(requirement) in pinned(), "add it to constraints.txt"
