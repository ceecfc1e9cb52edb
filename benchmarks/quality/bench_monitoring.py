r"""Monitoring, the whole way: sites with thousands of media files, the crawler, the service, the reports.

    python -m benchmarks.quality.bench_monitoring --smoke
    python -m benchmarks.quality.bench_monitoring --json monitoring.json

Works are registered twice, for two owners, each of whom watches the same sites (`monitoring_site`). The
crawler of the first runs undisturbed; that of the second is killed again and again, at even distances.
Every copy that a crawler may reach has to be reported, once, with every place where it stands; nothing else
may be, and nothing that is forbidden may be asked for. Of each copy that is not reported, the results say
what became of it. All numbers are of media that are made up or ship with packages.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import copyhound
from benchmarks.quality.monitoring_site import SMOKE, Amounts, Library, Sites, library, served
from benchmarks.speed import harness
from benchmarks.speed.harness import Service

KILLS: Final = 20
_QUICK: Final = {
    "THROTTLE": "false",
    "DELAY": "0",
    "HOST_CONCURRENCY": "8",
    "TIMEOUT": "20",
    "ATTEMPTS": "2",
    "RETRY_SECONDS": "0.1",
    "MAX_PAGE_MB": "2",
    "CONTACT": "benchmarks@example.org",
    "ALLOW_ADDRESS": "127.0.0.0/8",
    "REPORT_SECONDS": "0.5",
    "RETRY_SERVICE_SECONDS": "2",
    "MIN_FREE_MB": "0",
}
_DEPTH: Final = 60


@dataclass(frozen=True, slots=True)
class Found:
    """What an owner's run brought.

    Attributes:
        reports: External id of the work, digest of the content, and the places (page, file) of each report.
        run: As it ended.
        asked: Requests that the sites had.
        crawler_seconds: CPU that the crawler took, as far as it was not killed; 0: it was.
    """

    reports: list[tuple[str, bytes, frozenset[tuple[str, str]]]]
    run: copyhound.Run
    asked: int
    crawler_seconds: float

    @property
    def pairs(self) -> set[tuple[str, bytes]]:
        """Works, and digests of what was found of them."""
        return {(work, sha256) for work, sha256, _ in self.reports}


def watch(client: copyhound.Client, sites: Sites, owner: str, pages: int) -> copyhound.Run:
    """A list of an owner that watches the sites, and a run of it."""
    urls = [f"{sites.servers[name].url}/" for name in ("films", "music", "books")]
    places = tuple(copyhound.Place(copyhound.PlaceKind.PAGE, url) for url in urls)
    made = client.create_list(
        copyhound.NewMonitoringList(
            owner, places=places, leave_alone=(sites.licensee,), max_depth=_DEPTH, max_pages=pages
        )
    )
    return client.run_list(made.name)


def crawl(service: Service, sites: Sites, run: copyhound.Run, data: Path, *, kills: int, total: int) -> float:
    """Crawl to the end, killed so many times before; return CPU seconds of the crawler, 0 if killed.

    Args:
        service: What it hands over to.
        sites: What it crawls.
        run: Which run.
        data: Its folder.
        kills: How many times.
        total: About how many requests a crawl takes.
    """
    environment = {**os.environ, **{f"COPYHOUND_CRAWLER_{name}": value for name, value in _QUICK.items()}}
    command = [
        *(sys.executable, "-m", "crawler", "run", "--server", service.target, "--run", run.name),
        *("--data", str(data)),
    ]
    before = sites.asked
    for number in range(kills):
        target = max(sites.asked + 2, before + (number + 1) * total // (kills + 1))
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            while sites.asked < target and process.poll() is None:
                time.sleep(0.01)
            process.kill()
    times = os.times()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the crawler failed: {done.stderr[-2000:]}")
    after = os.times()
    took = after.children_user + after.children_system - times.children_user - times.children_system
    return 0.0 if kills else took


def settled(client: copyhound.Client, run: copyhound.Run) -> copyhound.Run:
    """The run, once all that it captured was read and matched."""
    while (found := client.get_run(run.name)).pending_contents:
        time.sleep(0.1)
    return found


def found(client: copyhound.Client, owner: str, run: copyhound.Run, asked: int, seconds: float) -> Found:
    """What an owner's reports say."""
    reports = []
    for listed in client.reports(owner=owner):
        report = client.get_report(listed.name)
        places = frozenset((one.page_url, one.media_url) for one in report.sightings)
        reports.append((report.match.external_id or "", report.sha256, places))
    return Found(reports, settled(client, run), asked, seconds)


def fate(database: Path, sha256: bytes) -> str:
    """What the service knows of a content, and whether it could read all of it.

    Args:
        database: Of the service.
        sha256: Of the content.
    """
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        known = db.execute("SELECT state, reason FROM contents WHERE sha256 = ?", (sha256,)).fetchone()
        read = db.execute(
            "SELECT detail FROM custody_events WHERE action = 'FINGERPRINTED' AND capture_id IN"
            " (SELECT id FROM captures WHERE content_sha256 = ?)",
            (sha256,),
        ).fetchone()
    return " ".join(known or ("not captured",)) + (f" {read[0]}" if read else "")


def measure(folder: Path, shown: Library, amounts: Amounts, kills: int) -> dict[str, Any]:
    """Register, crawl twice, and compare what was reported with what there was to report."""
    results: list[Found] = []
    with harness.service(folder / "hound") as service, copyhound.Client(service.target) as client:
        for owner in ("calm", "killed"):
            for name, (filename, content) in shown.works.items():
                client.register(content, owner=owner, external_id=name, filename=filename)
        for owner, times in (("calm", 0), ("killed", kills)):
            with served(shown, amounts) as sites:
                run = watch(client, sites, owner, 20 * amounts.pages)
                total = results[0].asked if results else 0
                seconds = crawl(service, sites, run, folder / owner, kills=times, total=total)
                ended = settled(client, run)
                results.append(found(client, owner, ended, sites.asked, seconds))
                checked = _checked(sites, results[-1], folder / "hound/copyhound.db")
                if owner == "calm":
                    calm = checked
                else:
                    killed = checked
    return {
        "amounts": {
            "pages": 3 * amounts.pages,
            "media_addresses": 3 * amounts.pages * amounts.on_page,
            "contents": len({one.sha256 for one in shown.open}),
            "works": len(shown.works),
            "kills": kills,
        },
        "calm": calm,
        "killed": killed,
    }


def _checked(sites: Sites, result: Found, database: Path) -> dict[str, Any]:
    """Numbers of one owner's run."""
    pairs, expected = result.pairs, sites.expected
    complete = sum(
        places == frozenset(sites.seen_at[sha256])
        for work, sha256, places in result.reports
        if (work, sha256) in expected
    )
    return {
        "copies": len(expected),
        "reported": len(pairs & expected),
        "missed": {
            f"{work} {sha256.hex()[:12]}": fate(database, sha256) for work, sha256 in sorted(expected - pairs)
        },
        "wrong": sorted(f"{work} {sha256.hex()[:12]}" for work, sha256 in pairs - expected),
        "twice": len(result.reports) - len(pairs),
        "with_every_place": complete,
        "forbidden_reported": len({sha256 for _, sha256 in pairs} & sites.forbidden),
        "forbidden_asked_for": len(sites.trespasses()),
        "asked_in_traps": dict(sites.trapped()),
        "requests": result.asked,
        "pages": result.run.progress.pages,
        "media": result.run.progress.media,
        "captures": result.run.progress.captures,
        "unreadable": result.run.unreadable_contents,
        "crawler_cpu_seconds": round(result.crawler_seconds, 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few files and two kills: does it work?")
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--json", type=Path, help="where to write the results")
    given = parser.parse_args(arguments)
    amounts = SMOKE if given.smoke else Amounts()
    with tempfile.TemporaryDirectory(prefix="copyhound-bench-") as folder:
        results = measure(Path(folder), library(amounts), amounts, 2 if given.smoke else given.kills)
    text = json.dumps(results, indent=1)
    sys.stdout.write(text + "\n")
    if given.json:
        given.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
