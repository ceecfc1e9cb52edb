"""The import contracts in pyproject.toml catch what they are there for."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLANTS = [
    ("indexers/planted.py", "import service.domain", "service composes the others"),
    ("crawler/planted.py", "import indexers", "service composes the others"),
    ("copyhound/planted.py", "import service.settings", "service composes the others"),
    ("service/store/planted.py", "import faiss", "only the FAISS backends import faiss"),
    ("indexers/image/planted.py", "import torch", "only indexers.training imports PyTorch"),
    ("service/store/planted.py", "from copyhound.v1 import work_pb2", "import the stubs"),
    ("indexers/planted.py", "import copyhound", "fingerprints need no client"),
    ("copyhound/planted.py", "import scrapy", "only the crawler imports Scrapy"),
    ("indexers/planted.py", "import sqlalchemy", "no database and no network"),
    ("service/matching/planted.py", "", "the stages of matching"),
    ("service/matching/decide.py", "import service.matching.score", "the stages of matching"),
    ("service/planted.py", "", "the wire is outermost"),
    ("service/errors.py", "import service.settings", "the wire is outermost"),
]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    command = [str(program), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("module", "line", "contract"), PLANTS)
def test_contract_is_broken_by(module: str, line: str, contract: str, tmp_path: Path) -> None:
    for package in ("copyhound", "indexers", "crawler", "service"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / module).open("a") as file:
        file.write(f"\n{line}\n")
    result = lint(tmp_path)
    broken = [text for text in result.stdout.splitlines() if text.endswith("BROKEN")]
    assert result.returncode == 1
    assert any(contract in text for text in broken), result.stdout
