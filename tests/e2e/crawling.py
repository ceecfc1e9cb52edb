"""What tests of the crawler share: a process that crawls into a folder, and what it left there."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from copyhound import evidence

QUICK: Mapping[str, str] = {
    "THROTTLE": "false",
    "DELAY": "0",
    "HOST_CONCURRENCY": "8",
    "TIMEOUT": "10",
    "ATTEMPTS": "2",
    "RETRY_SECONDS": "0.1",
    "BARREN_PAGES": "10",
    "MAX_PAGE_MB": "1",
    "MAX_MEDIA_MB": "1",
    "MIN_FREE_MB": "0",
    "CONTACT": "tests@example.org",
    "ALLOW_ADDRESS": "127.0.0.0/8",
    "REPORT_SECONDS": "0.5",
}


@dataclass(frozen=True, slots=True)
class Crawled:
    """What a crawl left.

    Attributes:
        data: Its own folder.
        out: The folder that it handed over to.
    """

    data: Path
    out: Path

    @property
    def progress(self) -> dict[str, Any]:
        """The last report."""
        read: dict[str, Any] = json.loads((self.out / "run.json").read_text())
        return read

    def headers(self) -> list[dict[str, Any]]:
        """The captures' headers."""
        return _lines(self.out / "captures.jsonl")

    def sightings(self) -> list[dict[str, Any]]:
        """What was seen again."""
        return _lines(self.out / "sightings.jsonl")

    def path(self, header: Mapping[str, Any]) -> Path:
        """Where a capture lies."""
        return self.out / f"captures/{header['capture_id']}.warc"

    def content(self, header: Mapping[str, Any]) -> bytes:
        """The content of a capture."""
        whole = self.path(header).read_bytes()
        return b"".join(whole[offset : offset + length] for offset, length in header["content_ranges"])

    def manifest(self, header: Mapping[str, Any]) -> Mapping[str, Any]:
        """The manifest of a capture, which has to be intact."""
        verified = evidence.verify(self.path(header), sha256=header["sha256"])
        assert verified.findings == ()
        return verified.manifest

    def reasons(self) -> dict[str, str]:
        """Why URLs were left out, or failed; empty: they were not."""
        with closing(sqlite3.connect(self.data / "crawl.db")) as db:
            return dict(db.execute("SELECT url, reason FROM url").fetchall())


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def command(folder: Path, places: Sequence[str], *options: str) -> list[str]:
    """Return the command that crawls into a folder."""
    return [
        *(sys.executable, "-m", "crawler", "places", *places),
        *("--data", str(folder / "data"), "--out", str(folder / "out"), *options),
    ]


def environment(**settings: str) -> dict[str, str]:
    """Return the environment of a quick crawler; settings by their names."""
    prefixed = {f"COPYHOUND_CRAWLER_{name}": value for name, value in {**QUICK, **settings}.items()}
    return {**os.environ, **prefixed}


def crawl(folder: Path, places: Sequence[str], *options: str, **settings: str) -> Crawled:
    """Crawl to the end."""
    done = subprocess.run(
        command(folder, places, *options),
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Crawled(folder / "data", folder / "out")
