"""A crawl that is killed again and again brings the same captures as one that is not, each once."""

import subprocess
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crawler.__main__ import app
from tests.e2e.crawling import Crawled, command, crawl, environment
from tests.sites import Answer, Asked, Server, serving


class Counted:
    """A site of pages and pictures that calls back once it has answered so many requests."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.answered = 0
        self.stop_at = 0
        self.reached = threading.Event()

    def __call__(self, asked: Asked) -> Answer:
        self.answered += 1
        if self.stop_at and self.answered >= self.stop_at:
            self.reached.set()
        if asked.path == "/robots.txt":
            return Answer(b"", "text/plain")
        if asked.path.endswith(".png"):
            return Answer(b"\x89PNG\r\n\x1a\n" + asked.path.encode() * 20, "image/png")
        page = int(asked.path.strip("/") or 0)
        links = "".join(
            f'<a href="/{child}">x</a>' for child in (2 * page + 1, 2 * page + 2) if child < self.pages
        )
        return Answer(f'{links}<img src="/i/{page}-a.png"><img src="/i/{page}-b.png">'.encode())


def killed(folder: Path, server: Server, site: Counted, kills: int) -> tuple[Crawled, int]:
    """Crawl with kills at even distances; returns what came, and the most requests of a picture."""
    total = 3 * site.pages
    for number in range(kills):
        site.reached.clear()
        site.stop_at = max(site.answered + 2, (number + 1) * total // (kills + 1))
        process = subprocess.Popen(
            command(folder, [server.url + "/"], "--depth", "50"),
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not site.reached.wait(0.05) and process.poll() is None:
            pass
        process.kill()
        process.wait()
    site.stop_at = 0
    return crawl(folder, [server.url + "/"], "--depth", "50"), server.asked.total()


def check(folder: Path, pages: int, kills: int) -> None:
    site = Counted(pages)
    with serving(site) as server:
        crawled, asked = killed(folder, server, site, kills)
    expected = {f"{server.url}/i/{page}-{side}.png" for page in range(pages) for side in "ab"}
    headers = {header["capture_id"]: header for header in crawled.headers()}
    assert sorted(header["media_url"] for header in headers.values()) == sorted(expected)
    assert {path.stem for path in (crawled.out / "captures").glob("*.warc")} == set(headers)
    for header in headers.values():
        crawled.manifest(header)
    assert crawled.progress["captures"] == len(expected)
    # What was under way at a kill is asked for again, and robots.txt once for each start.
    assert asked <= 3 * pages + (kills + 1) + kills * 20
    assert not list((crawled.data / "spool").iterdir())


def test_killed_twice(tmp_path: Path) -> None:
    check(tmp_path, 20, 2)


@pytest.mark.slow
def test_killed_twenty_times(tmp_path: Path) -> None:
    check(tmp_path, 200, 20)


def test_a_full_disk_stops_the_crawl_and_says_so(tmp_path: Path) -> None:
    site = Counted(3)
    with serving(site) as server:
        full = subprocess.run(
            command(tmp_path, [server.url + "/"]),
            env=environment(MIN_FREE_MB="1e9"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert full.returncode == 1
        assert "make room" in full.stderr
    assert not list((tmp_path / "out/captures").iterdir())


FULL = """
import sqlite3
from crawler.__main__ import main
from crawler.frontier import Frontier
def handed_over(self, capture):
    raise sqlite3.OperationalError("database or disk is full")
Frontier.handed_over = handed_over
main()
"""


def test_a_database_that_cannot_grow_stops_the_crawl_and_nothing_is_lost(tmp_path: Path) -> None:
    site = Counted(3)
    with serving(site) as server:
        start = command(tmp_path, [server.url + "/"])
        full = subprocess.run(
            [start[0], "-c", FULL, *start[3:]],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert full.returncode == 1
        assert "the disk is full: make room" in full.stderr
        stopped = Crawled(tmp_path / "data", tmp_path / "out").progress
        assert (stopped["state"], "make room" in stopped["message"]) == ("running", True)
        crawled = crawl(tmp_path, [server.url + "/"])
    assert crawled.progress["message"] == ""
    assert len({header["capture_id"] for header in crawled.headers()}) == 2 * site.pages


def test_wrong_use_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COPYHOUND_CRAWLER_CONTACT", raising=False)
    options = ["places", "https://a.example/", "--data", str(tmp_path), "--out", str(tmp_path)]
    without = CliRunner().invoke(app, options)
    assert without.exit_code == 2
    assert "--contact" in without.stderr
    options += ["--contact", "tests@example.org"]
    assert "--allow-address" in CliRunner().invoke(app, [*options, "--allow-address", "here"]).stderr
    options[1] = "not a place"
    assert "no place" in CliRunner().invoke(app, options).stderr
