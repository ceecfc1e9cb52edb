"""Where runs come from and captures go to: a service, or a folder."""

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol
from uuid import NAMESPACE_URL, uuid5

from copyhound.monitor_types import (
    Assignment,
    CaptureHeader,
    Ingested,
    Lease,
    Place,
    PlaceKind,
    Progress,
    RunState,
    SeenAgain,
)

MAX_SIGHTINGS: Final = 1_000
"""Most sightings of one report."""


class Handover(Protocol):
    """What a crawler asks of the other side. `copyhound.AsyncCrawlerClient` is one.

    Its methods say more. All can be repeated safely, and raise subclasses of `copyhound.CopyhoundError`.
    """

    async def lease_run(self, run: str = "") -> Assignment | None:
        """Take a run to work on; None: nothing now."""
        ...

    async def report_progress(
        self, run: str, progress: Progress, *, state: RunState = RunState.RUNNING, message: str = ""
    ) -> Lease:
        """Tell how far a run is, and renew its lease."""
        ...

    async def report_sightings(self, run: str, sightings: Sequence[SeenAgain]) -> tuple[SeenAgain, ...]:
        """Tell of places where contents were seen again; returns those that have to be captured."""
        ...

    async def ingest_capture(self, header: CaptureHeader, warc: Path) -> Ingested:
        """Hand a capture over, and wait until it is durable."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...


class FolderHandover:
    """Hands captures over to a folder: a crawl without a service.

    ``captures/{uuid}.warc`` are the captures, ``captures.jsonl`` and ``sightings.jsonl`` say a line about
    each, ``run.json`` how far the crawl is.
    """

    def __init__(self, folder: Path, assignment: Assignment) -> None:
        """Make the folder, if it is not there.

        Args:
            folder: Where captures go.
            assignment: The one run that there is.
        """
        self._folder = folder
        self._assignment = assignment
        self._captures = folder / "captures"
        self._captures.mkdir(parents=True, exist_ok=True)
        self._ended = False

    async def lease_run(self, run: str = "") -> Assignment | None:
        """Return the run until it has ended."""
        if self._ended or run not in ("", self._assignment.run):
            return None
        return self._assignment

    async def report_progress(
        self, run: str, progress: Progress, *, state: RunState = RunState.RUNNING, message: str = ""
    ) -> Lease:
        """Write ``run.json``."""
        self._ended = state in (RunState.DONE, RunState.FAILED)
        text = json.dumps({"run": run, "state": state, "message": message, **asdict(progress)}, indent=2)
        await asyncio.to_thread(_replace, self._folder / "run.json", text)
        return Lease(cancelled=False, expires_at=datetime.now(UTC) + timedelta(hours=1))

    async def report_sightings(self, run: str, sightings: Sequence[SeenAgain]) -> tuple[SeenAgain, ...]:
        """Append to ``sightings.jsonl``."""
        lines = "".join(
            json.dumps(
                {
                    "run": run,
                    **asdict(seen),
                    "sha256": seen.sha256.hex(),
                    "seen_at": seen.seen_at.isoformat(),
                },
                ensure_ascii=True,
            )
            + "\n"
            for seen in sightings
        )
        await asyncio.to_thread(_append, self._folder / "sightings.jsonl", lines)
        return ()

    async def ingest_capture(self, header: CaptureHeader, warc: Path) -> Ingested:
        """Copy the file, then append to ``captures.jsonl``; what is there already stays."""
        target = self._captures / f"{header.capture_id}.warc"
        present = target.exists()
        if not present:
            await asyncio.to_thread(self._copy, header, warc, target)
        return Ingested(f"captures/{header.capture_id}", already_present=present, content_known=False)

    def _copy(self, header: CaptureHeader, warc: Path, target: Path) -> None:
        aside = target.with_suffix(".partial")
        shutil.copyfile(warc, aside)
        fields = asdict(header)
        fields |= {
            "capture_id": str(header.capture_id),
            "sha256": header.sha256.hex(),
            "content_sha256": header.content_sha256.hex(),
            "captured_at": header.captured_at.isoformat(),
        }
        # The line first: a capture without one would never be told of; a line told twice names the same id.
        _append(self._folder / "captures.jsonl", json.dumps(fields, ensure_ascii=True) + "\n")
        aside.replace(target)

    async def close(self) -> None:
        """Nothing has to be closed."""


def folder_assignment(
    starts: Sequence[str], *, leave_alone: Sequence[str] = (), max_depth: int, max_pages: int
) -> Assignment:
    """Return the run that crawls some places; the same places make the same run, so that it can go on.

    Args:
        starts: URLs, each with its kind before an ``=`` if it is no page, such as ``feed=https://…``.
        leave_alone: Hosts and beginnings of URLs.
        max_depth: Links away from a place.
        max_pages: Most pages.

    Raises:
        ValueError: If one names an unknown kind.
    """
    places = []
    for text in starts:
        head, equals, tail = text.partition("=")
        known = equals and head in {kind.value for kind in PlaceKind}
        kind, url = (PlaceKind(head), tail) if known else (PlaceKind.PAGE, text)
        if "://" not in url and kind is not PlaceKind.DOMAIN:
            raise ValueError(
                f"{text!r} is no place: write a URL, or KIND=URL with a kind of {', '.join(PlaceKind)}"
            )
        places.append(Place(kind, url, id=str(uuid5(NAMESPACE_URL, text))))
    name = uuid5(NAMESPACE_URL, "\n".join(sorted(starts)))
    return Assignment(
        run=f"lists/{name}/runs/{name}",
        list=f"lists/{name}",
        places=tuple(places),
        leave_alone=tuple(leave_alone),
        max_depth=max_depth,
        max_pages=max_pages,
        max_capture_bytes=1 << 40,
        progress=Progress(),
        lease_expires_at=datetime.now(UTC) + timedelta(hours=1),
    )


def again(assignment: Assignment, number: int) -> Assignment:
    """Return a later run of the same list."""
    run = uuid5(NAMESPACE_URL, f"{assignment.run}#{number}")
    return replace(assignment, run=f"{assignment.list}/runs/{run}")


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, text: str) -> None:
    aside = path.with_name(f"{path.name}.partial")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
