"""What was seen and what waits, in one SQLite file, so that a crawl survives being killed at any moment.

A URL's row is `WAITING` until everything that its answer led to is in the database, in one transaction: the
rows of what it links to, its capture in the outbox, its counts. Whatever was under way when the process died
is waiting again. Only batches of rows are in memory, whatever the size of the crawl.

The file is in WAL mode with ``synchronous=NORMAL``: a killed process loses nothing, a machine that loses
power may lose the last moments, which are then fetched again.
"""

import json
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from copyhound.monitor_types import CaptureHeader, Progress, SeenAgain
from crawler import urls
from crawler.extract import Kind

_BATCH: Final = 32
_MAX_SEEN: Final = 200
"""Pages of one run that are told of for one medium: the rest shows the same logo."""
_PAGES: Final = (Kind.PAGE, Kind.FRAME)
_SCHEMA_VERSION: Final = 3
_SCHEMA: Final = """
CREATE TABLE run (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, list TEXT NOT NULL, started REAL NOT NULL, ended REAL,
  pages INTEGER NOT NULL DEFAULT 0, media INTEGER NOT NULL DEFAULT 0, captures INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0, errors INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE url (
  id INTEGER PRIMARY KEY, list TEXT NOT NULL, key BLOB NOT NULL, url TEXT NOT NULL, host TEXT NOT NULL,
  kind TEXT NOT NULL, state INTEGER NOT NULL, run INTEGER NOT NULL, depth INTEGER NOT NULL,
  rank INTEGER NOT NULL, follow INTEGER NOT NULL, place INTEGER NOT NULL, parent INTEGER,
  page_url TEXT NOT NULL, page_title TEXT NOT NULL,
  found_as TEXT NOT NULL, context TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  due REAL NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '', etag TEXT NOT NULL DEFAULT '',
  modified TEXT NOT NULL DEFAULT '', sha256 BLOB, seen INTEGER NOT NULL DEFAULT 0, UNIQUE (list, key)
);
CREATE INDEX content_of ON url (list, sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX waiting ON url (list, host, rank, id) WHERE state = 0;
CREATE INDEX waiting_due ON url (list, due) WHERE state = 0 AND due > 0;
CREATE TABLE link (
  page INTEGER NOT NULL, target INTEGER NOT NULL, found_as TEXT NOT NULL, PRIMARY KEY (page, target)
) WITHOUT ROWID;
CREATE TABLE host (
  run INTEGER NOT NULL, host TEXT NOT NULL, first REAL NOT NULL, pages INTEGER NOT NULL,
  bytes INTEGER NOT NULL, PRIMARY KEY (run, host)
) WITHOUT ROWID;
CREATE TABLE shape (
  run INTEGER NOT NULL, shape TEXT NOT NULL, barren INTEGER NOT NULL, PRIMARY KEY (run, shape)
) WITHOUT ROWID;
CREATE TABLE content (
  list TEXT NOT NULL, sha256 BLOB NOT NULL, kind INTEGER NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (list, sha256, kind)
) WITHOUT ROWID;
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL, capture TEXT NOT NULL UNIQUE, header TEXT NOT NULL,
  bytes INTEGER NOT NULL
);
CREATE TABLE exchange (page INTEGER PRIMARY KEY, run INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE sighting (id INTEGER PRIMARY KEY, run TEXT NOT NULL, seen TEXT NOT NULL);
"""
_SINCE_VERSION_2: Final = """
CREATE TABLE rendering (page INTEGER PRIMARY KEY, run INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX waiting_of ON url (parent) WHERE state = 0;
"""
_SINCE_VERSION_3: Final = """
ALTER TABLE url ADD COLUMN uploader TEXT NOT NULL DEFAULT '';
"""


class State(IntEnum):
    """How far a URL is in the run that its row names."""

    WAITING = 0
    DONE = 1
    LEFT_OUT = 2
    FAILED = 3


@dataclass(frozen=True, slots=True)
class Task:
    """A URL to be fetched.

    Attributes:
        id: Its row.
        url: What to ask for.
        host: Host and port.
        kind: What it is expected to be.
        depth: Links away from its place.
        follow: Whether links of this page lead on.
        place: Index of the place in the assignment.
        parent: Row of the page that named it; None: the list.
        page_url: Page that named it; empty: the list.
        page_title: Title of that page.
        found_as: How that page named it.
        context: What the page says about it.
        uploader: Who put it there, as the page says.
        attempts: How often it failed so far.
        etag: Of the last answer; empty: none.
        modified: ``Last-Modified`` of the last answer; empty: none.
        sha256: Of the last content; None: none yet.
    """

    id: int
    url: str
    host: str
    kind: Kind
    depth: int
    follow: bool
    place: int
    parent: int | None
    page_url: str
    page_title: str
    found_as: str
    context: str
    uploader: str
    attempts: int
    etag: str
    modified: str
    sha256: bytes | None


@dataclass(frozen=True, slots=True)
class Found:
    """A URL that a page or a place names.

    Attributes:
        url: As `urls.absolute` returns it.
        kind: What it is expected to be.
        depth: Links away from the place.
        follow: Whether its own links lead on.
        found_as: How it was named.
        context: What was said about it.
        uploader: Who is said to have put it there; empty: what is said of the page counts.
    """

    url: str
    kind: Kind
    depth: int
    follow: bool
    found_as: str = ""
    context: str = ""
    uploader: str = ""


@dataclass(slots=True)
class Outcome:
    """What became of a task, as it goes into the database.

    Attributes:
        state: `DONE`, `LEFT_OUT` or `FAILED`; `WAITING`: to be tried again at `due`.
        reason: For people.
        cause: The reason's kind, for metrics: one word.
        due: Unix time before which it is not tried again.
        received: Bytes received for it from its host.
        elsewhere: Bytes received for it from other hosts.
        page: Whether a page was read.
        etag: To be asked with next time.
        modified: As `etag`.
        sha256: Of the content.
        found: What it names.
        title: Title of the page, for what it names.
        uploader: Who put the page there, as it says.
        unchanged: The server said that nothing changed: what it named last time counts again.
        header: Of the capture that was made; None: none.
        seen: A content that was seen again, without a capture.
        exchange: How the page came, packed by `exchanges.packed`; None: not to be kept.
        rendering: How it looked, packed by `Rendering.pack`; None: not to be kept.
    """

    state: State = State.DONE
    reason: str = ""
    cause: str = ""
    due: float = 0.0
    received: int = 0
    elsewhere: dict[str, int] = field(default_factory=dict)
    page: bool = False
    etag: str = ""
    modified: str = ""
    sha256: bytes | None = None
    found: list[Found] = field(default_factory=list)
    title: str = ""
    uploader: str = ""
    unchanged: bool = False
    header: CaptureHeader | None = None
    seen: SeenAgain | None = None
    exchange: bytes | None = None
    rendering: bytes | None = None


@dataclass(frozen=True, slots=True)
class HostBudget:
    """What one host may cost in one run.

    Attributes:
        pages: Most pages.
        bytes: Most bytes.
        seconds: Longest time since its first request.
    """

    pages: int
    bytes: int
    seconds: float


@dataclass(slots=True)
class _Host:
    """What is known in memory of a host with waiting URLs."""

    batch: deque[Task] = field(default_factory=deque)
    active: int = 0
    more: bool = True
    first: float = 0.0
    pages: int = 0
    bytes: int = 0
    closed: str = ""


class Frontier:
    """The database of a crawler. One process at a time uses it, from one thread."""

    def __init__(self, path: Path) -> None:
        """Open or make the database.

        Raises:
            sqlite3.Error: If the file cannot be used.
        """
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=10000;"
        )
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version < _SCHEMA_VERSION:
            steps = {0: _SCHEMA, 1: _SINCE_VERSION_2, 2: _SINCE_VERSION_3}
            script = "".join(step for since, step in steps.items() if version <= since)
            self._db.executescript(f"BEGIN; {script} PRAGMA user_version={_SCHEMA_VERSION}; COMMIT;")
        self.spooled_bytes = self._count_spooled()
        """Size of all captures that wait: asked for with every request, so it is counted along."""

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # What waits for the service

    def outbox_count(self) -> int:
        """Return how many captures wait."""
        return int(self._db.execute("SELECT count(*) FROM outbox").fetchone()[0])

    def waiting_captures(self, limit: int = 16) -> list[CaptureHeader]:
        """Return the oldest captures that were not handed over."""
        rows = self._db.execute("SELECT header FROM outbox ORDER BY id LIMIT ?", (limit,))
        return [_header(json.loads(text)) for (text,) in rows]

    def handed_over(self, capture: UUID) -> None:
        """Forget a capture: the other side has it."""
        with self._transaction() as db:
            gone = db.execute(
                "DELETE FROM outbox WHERE capture = ? RETURNING bytes", (str(capture),)
            ).fetchall()
        self.spooled_bytes -= sum(size for (size,) in gone)

    def has_capture(self, capture: str) -> bool:
        """Whether a capture waits to be handed over."""
        return self._db.execute("SELECT 1 FROM outbox WHERE capture = ?", (capture,)).fetchone() is not None

    def _count_spooled(self) -> int:
        return int(self._db.execute("SELECT coalesce(sum(bytes), 0) FROM outbox").fetchone()[0])

    def waiting_sightings(self, limit: int) -> list[tuple[int, str, SeenAgain]]:
        """Return (row, run, sighting) of the oldest sightings that were not told."""
        rows = self._db.execute("SELECT id, run, seen FROM sighting ORDER BY id LIMIT ?", (limit,))
        return [(row, run, _seen(json.loads(text))) for row, run, text in rows]

    def told(self, rows: Sequence[int]) -> None:
        """Forget sightings: the other side has them."""
        with self._transaction() as db:
            db.executemany("DELETE FROM sighting WHERE id = ?", [(row,) for row in rows])

    def drop_run(self, run: str) -> list[str]:
        """Forget what waits for a run that nobody wants any more; returns the ids of its captures."""
        with self._transaction() as db:
            captures = [str(c) for (c,) in db.execute("SELECT capture FROM outbox WHERE run = ?", (run,))]
            db.execute("DELETE FROM outbox WHERE run = ?", (run,))
            db.execute("DELETE FROM sighting WHERE run = ?", (run,))
        self.spooled_bytes = self._count_spooled()
        return captures

    def capture_again(self, list_name: str, sha256: bytes) -> None:
        """Let a content be captured anew: the other side does not know it."""
        with self._transaction() as db:
            db.execute("DELETE FROM content WHERE list = ? AND sha256 = ?", (list_name, sha256))
            db.execute(
                "UPDATE url SET etag = '', modified = '', sha256 = NULL WHERE list = ? AND sha256 = ?",
                (list_name, sha256),
            )

    # Runs

    def open_run(self, name: str, list_name: str, max_pages: int) -> "RunFrontier":
        """Begin a run, or go on with it.

        Args:
            name: Of the run.
            list_name: Of its list: what earlier runs of it saw counts.
            max_pages: Most pages to read.
        """
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO run (name, list, started) VALUES (?, ?, ?)",
                (name, list_name, time.time()),
            )
            (number,) = db.execute("SELECT id FROM run WHERE name = ?", (name,)).fetchone()
            # The time in which the crawler was stopped is no host's.
            db.execute("UPDATE host SET first = ? WHERE run = ?", (time.time(), number))
        return RunFrontier(self, self._db, number, name, list_name, max_pages)

    def transaction(self) -> Any:
        """Return a context inside which everything is written, or nothing."""
        return self._transaction()


class RunFrontier:
    """The frontier of one run: gives tasks out, host by host, and takes what became of them."""

    def __init__(  # noqa: PLR0917  made in one place
        self,
        frontier: Frontier,
        db: sqlite3.Connection,
        number: int,
        name: str,
        list_name: str,
        max_pages: int,
    ) -> None:
        """Prepare to go on; see `Frontier.open_run`."""
        self.name = name
        self.list = list_name
        self._frontier = frontier
        self._db = db
        self._run = number
        self._hosts: dict[str, _Host] = {}
        self._round: deque[str] = deque()
        self._active: dict[int, Task] = {}
        self._waiting = 0
        self._max_pages = max_pages
        self.on_budget: Callable[[int], object] = lambda _: None
        """Told how many URLs are left out at once since a budget is spent."""
        self._pages = self.progress().pages
        self._active_pages = 0
        self._load_hosts()
        self._leave_out_pages()

    def _load_hosts(self) -> None:
        rows = self._db.execute(
            "SELECT host, count(*) FROM url WHERE list = ? AND state = 0 AND run = ? GROUP BY host",
            (self.list, self._run),
        )
        for host, count in rows:
            self._waiting += count
            self._host(host)

    def _host(self, name: str) -> _Host:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host()
            row = self._db.execute(
                "SELECT first, pages, bytes FROM host WHERE run = ? AND host = ?", (self._run, name)
            ).fetchone()
            if row:
                host.first, host.pages, host.bytes = row
            self._round.append(name)
        return host

    def begun(self) -> bool:
        """Whether the run has its first URLs already."""
        query = "SELECT 1 FROM url WHERE list = ? AND run = ? LIMIT 1"
        return self._db.execute(query, (self.list, self._run)).fetchone() is not None

    def add(self, found: Iterable[tuple[int, Found]]) -> None:
        """Put the places of the list in: (index of the place, what it names)."""
        with self._frontier.transaction():
            for place, item in found:
                self._insert(item, place, None, "", "")

    def _insert(self, found: Found, place: int, parent: int | None, page_url: str, title: str) -> bool:
        """Put a URL in; whether it is new to this run. A later run asks again for what an earlier one had."""
        if found.kind in _PAGES and self._pages >= self._max_pages:
            return False
        key = urls.key_of(found.url)
        host = urls.host_of(found.url)
        rank = found.depth * 4 + (3 if found.kind in (Kind.PAGE, Kind.FRAME) else 0)
        row = self._db.execute(
            "SELECT id, run, state, url, sha256, kind, seen FROM url WHERE list = ? AND key = ?",
            (self.list, key),
        ).fetchone()
        if row is None:
            cursor = self._db.execute(
                "INSERT INTO url (list, key, url, host, kind, state, run, depth, rank, follow, place, parent,"
                " page_url, page_title, found_as, context, uploader)"
                " VALUES (?,?,?,?,?,0,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    *(self.list, key, found.url, host, found.kind, self._run, found.depth, rank),
                    *(found.follow, place, parent, page_url, title, found.found_as, found.context),
                    found.uploader,
                ),
            )
            number = cursor.lastrowid
        elif row[1] != self._run:
            number = row[0]
            # What did not change keeps its URL, and with it the validators that belong to it.
            self._db.execute(
                "UPDATE url SET state = 0, run = ?, kind = ?, depth = ?, rank = ?, follow = ?, place = ?,"
                " parent = ?, page_url = ?, page_title = ?, found_as = ?, context = ?, uploader = ?,"
                " attempts = 0, due = 0, reason = '', seen = 0 WHERE id = ?",
                (
                    *(self._run, found.kind, found.depth, rank, found.follow, place, parent, page_url),
                    *(title, found.found_as, found.context, found.uploader, number),
                ),
            )
            host = urls.host_of(row[3])
        else:
            self._note_link(parent, row[0], found.found_as)
            if (
                row[2] == State.DONE
                and row[4] is not None
                and page_url
                and row[5] in (Kind.MEDIA, Kind.PLAYLIST)
            ):
                self._see(
                    row[0],
                    row[6],
                    SeenAgain(
                        row[4], row[3], datetime.now(UTC), page_url, title, found.found_as, found.uploader
                    ),
                )
            return False
        self._note_link(parent, number, found.found_as)
        self._host(host).more = True
        self._waiting += 1
        return True

    def _note_link(self, page: int | None, target: int | None, found_as: str) -> None:
        if page is not None and target is not None and page != target:
            self._db.execute("INSERT OR IGNORE INTO link VALUES (?, ?, ?)", (page, target, found_as))

    # Giving out

    def next_task(self, *, per_host: int, budget: HostBudget, pages: int | None = None) -> Task | None:
        """Return a task of the host whose turn it is; None: none can be begun now.

        Args:
            per_host: Most tasks of one host under way.
            budget: What a host may cost.
            pages: Most pages under way; None: as many as there are tasks.
        """
        now = time.time()
        for _ in range(len(self._round)):
            name = self._round[0]
            self._round.rotate(-1)
            host = self._hosts[name]
            if host.active >= per_host:
                continue
            host.closed = host.closed or _spent(host, budget, now)
            if host.closed and (host.more or host.batch):
                self._close_host(name, host)
            if not host.batch and host.more:
                self._fill(name, host, now)
            if host.batch:
                is_page = host.batch[0].kind in _PAGES
                if is_page and self._pages + self._active_pages >= self._max_pages:
                    continue  # one of those under way may turn out not to be a page
                if is_page and pages is not None and self._active_pages >= pages:
                    continue
                task = host.batch.popleft()
                host.active += 1
                self._active_pages += is_page
                host.first = host.first or now
                self._active[task.id] = task
                return task
            if not host.active and not host.more:
                self._hosts.pop(name)
                self._round.pop()
        return None

    def _fill(self, name: str, host: _Host, now: float) -> None:
        rows = self._db.execute(
            "SELECT id, url, host, kind, depth, follow, place, parent, page_url, page_title, found_as,"
            " context, uploader, attempts, etag, modified, sha256 FROM url"
            " WHERE list = ? AND host = ? AND state = 0 AND run = ? AND due <= ? ORDER BY rank, id LIMIT ?",
            (self.list, name, self._run, now, _BATCH + host.active),
        ).fetchall()
        fresh = [row for row in rows if row[0] not in self._active]
        for row in fresh:
            fields: Any = (*row[:3], Kind(row[3]), row[4], bool(row[5]), *row[6:])
            host.batch.append(Task(*fields))
        if not fresh:
            (delayed,) = self._db.execute(
                "SELECT count(*) FROM url WHERE list = ? AND host = ? AND state = 0 AND run = ? AND due > ?",
                (self.list, name, self._run, now),
            ).fetchone()
            host.more = bool(delayed)

    def spent(self, name: str, budget: HostBudget) -> str:
        """Say which part of a host's budget is used up; empty: none."""
        known = self._hosts.get(name)
        if known is None:
            row = self._db.execute(
                "SELECT first, pages, bytes FROM host WHERE run = ? AND host = ?", (self._run, name)
            ).fetchone()
            known = _Host(first=row[0], pages=row[1], bytes=row[2]) if row else _Host()
        return known.closed or _spent(known, budget, time.time())

    def validators(self, url: str) -> tuple[str, str]:
        """Return (ETag, Last-Modified) of a medium that an earlier run had; empty: it says none."""
        row = self._db.execute(
            "SELECT etag, modified FROM url WHERE list = ? AND key = ? AND url = ? AND kind = ?"
            " AND sha256 IS NOT NULL AND (run <> ? OR state = 0)",
            (self.list, urls.key_of(url), url, Kind.MEDIA, self._run),
        ).fetchone()
        return (row[0], row[1]) if row else ("", "")

    def _close_host(self, name: str, host: _Host) -> None:
        """Leave out everything that waits for a host whose budget is spent."""
        with self._frontier.transaction() as db:
            busy = [task.id for task in self._active.values() if task.host == name]
            cursor = db.execute(
                "UPDATE url SET state = ?, reason = ? WHERE list = ? AND host = ? AND state = 0 AND run = ?"
                " AND id NOT IN (SELECT value FROM json_each(?))",
                (State.LEFT_OUT, host.closed, self.list, name, self._run, json.dumps(busy)),
            )
            db.execute("UPDATE run SET refused = refused + ? WHERE id = ?", (cursor.rowcount, self._run))
        self._waiting -= cursor.rowcount
        self.on_budget(cursor.rowcount)
        host.batch.clear()
        host.more = False

    @property
    def waiting(self) -> int:
        """How many URLs wait, those under way among them."""
        return self._waiting

    @property
    def active(self) -> int:
        """How many tasks are under way."""
        return len(self._active)

    # Taking back

    def release(self, task: Task) -> None:
        """Take a task back that was not done: it waits as before."""
        if self._active.pop(task.id, None) is not None:
            host = self._hosts[task.host]
            host.active -= 1
            host.more = True
            self._active_pages -= task.kind in _PAGES

    def finish(self, task: Task, outcome: Outcome) -> int:
        """Write down what became of a task, all of it or nothing; return how many media it named first.

        Raises:
            sqlite3.Error: If it cannot be written: the task stays under way.
        """
        host = self._host(task.host)
        before = self._waiting
        try:
            with self._frontier.transaction() as db:
                media = self._write(db, task, outcome, host)
        except BaseException:
            self._waiting = before
            raise
        self._frontier.spooled_bytes += outcome.header.byte_count if outcome.header is not None else 0
        self._active.pop(task.id, None)
        self._active_pages -= task.kind in _PAGES
        self._pages += outcome.page
        host.active -= 1
        host.bytes += outcome.received
        host.pages += outcome.page
        for name, size in outcome.elsewhere.items():
            if (other := self._hosts.get(name)) is not None:
                other.first, other.bytes = other.first or time.time(), other.bytes + size
        if outcome.state is State.WAITING:
            host.more = True
        else:
            self._waiting -= 1
        if outcome.page:
            self._leave_out_pages()
        return media

    def _leave_out_pages(self) -> None:
        """Once the budget of pages is used up, leave out the pages that wait; media go on."""
        if self._pages < self._max_pages:
            return
        with self._frontier.transaction() as db:
            cursor = db.execute(
                "UPDATE url SET state = ?, reason = 'the budget of pages is used up'"
                " WHERE list = ? AND state = 0 AND run = ? AND kind IN (?, ?)",
                (State.LEFT_OUT, self.list, self._run, *_PAGES),
            )
            db.execute("UPDATE run SET refused = refused + ? WHERE id = ?", (cursor.rowcount, self._run))
        self._waiting -= cursor.rowcount
        self.on_budget(cursor.rowcount)
        for host in self._hosts.values():
            host.batch = deque(task for task in host.batch if task.kind not in _PAGES)

    def _write(self, db: sqlite3.Connection, task: Task, outcome: Outcome, host: _Host) -> int:
        new = 0
        # What a style sheet names belongs to the page that uses it.
        page_url = task.page_url if task.kind is Kind.STYLE else task.url
        if outcome.unchanged:
            self._revisit_links(db, task)
        elif outcome.sha256 is not None or outcome.found:
            db.execute("DELETE FROM link WHERE page = ?", (task.id,))
            for found in _claimed(task, outcome):
                inserted = self._insert(found, task.place, task.id, page_url, outcome.title)
                new += inserted and found.kind not in (Kind.PAGE, Kind.FRAME, Kind.STYLE)
        if outcome.state is State.WAITING:
            db.execute(
                "UPDATE url SET attempts = attempts + 1, due = ?, reason = ? WHERE id = ?",
                (outcome.due, outcome.reason, task.id),
            )
        elif outcome.unchanged or outcome.sha256 is None:
            db.execute(
                "UPDATE url SET state = ?, reason = ? WHERE id = ?", (outcome.state, outcome.reason, task.id)
            )
        else:
            db.execute(
                "UPDATE url SET state = ?, reason = ?, etag = ?, modified = ?, sha256 = ? WHERE id = ?",
                (outcome.state, outcome.reason, outcome.etag, outcome.modified, outcome.sha256, task.id),
            )
        if outcome.exchange is not None and new:
            db.execute(
                "INSERT OR REPLACE INTO exchange VALUES (?, ?, ?)", (task.id, self._run, outcome.exchange)
            )
        self._write_rendering(db, task, outcome, named=new > 0)
        if outcome.page:
            self._count_barren(db, task, fresh=new > 0 or outcome.header is not None)
        if outcome.header is not None:
            text = json.dumps(_header_fields(outcome.header))
            db.execute(
                "INSERT INTO outbox (run, capture, header, bytes) VALUES (?, ?, ?, ?)",
                (self.name, str(outcome.header.capture_id), text, outcome.header.byte_count),
            )
            self._count_content(db, outcome.header.content_sha256, 1)
        if outcome.seen is not None:
            self._see(task.id, 0, outcome.seen)
        self._see_elsewhere(task, outcome)
        db.executemany(
            "INSERT INTO host VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " pages = pages + excluded.pages, bytes = bytes + excluded.bytes",
            [
                (self._run, task.host, host.first or time.time(), outcome.page, outcome.received),
                *((self._run, name, time.time(), 0, size) for name, size in outcome.elsewhere.items()),
            ],
        )
        db.execute(
            "UPDATE run SET pages = pages + ?, media = media + ?, captures = captures + ?, bytes = bytes + ?,"
            " errors = errors + ?, refused = refused + ? WHERE id = ?",
            (
                *(outcome.page, new, outcome.header is not None),
                outcome.received + sum(outcome.elsewhere.values()),
                *(outcome.state is State.FAILED, outcome.state is State.LEFT_OUT, self._run),
            ),
        )
        return int(new)

    def _write_rendering(self, db: sqlite3.Connection, task: Task, outcome: Outcome, *, named: bool) -> None:
        """Keep how a page looked for as long as its media wait: such pictures are large."""
        if outcome.rendering is not None and named:
            db.execute(
                "INSERT OR REPLACE INTO rendering VALUES (?, ?, ?)", (task.id, self._run, outcome.rendering)
            )
        if task.parent is not None and outcome.state is not State.WAITING:
            db.execute(
                "DELETE FROM rendering WHERE page = ?1"
                " AND NOT EXISTS (SELECT 1 FROM url WHERE parent = ?1 AND state = 0 AND run = ?2"
                " AND kind IN (?3, ?4))",
                (task.parent, self._run, Kind.MEDIA, Kind.PLAYLIST),
            )

    def _revisit_links(self, db: sqlite3.Connection, task: Task) -> None:
        """Ask again for what a page named when it was last read: it has not changed since."""
        rows = db.execute(
            "SELECT u.url, u.kind, u.depth, u.follow, l.found_as, u.context, u.page_title, u.uploader"
            " FROM link l JOIN url u ON u.id = l.target WHERE l.page = ?",
            (task.id,),
        ).fetchall()
        for url, kind, depth, follow, found_as, context, title, uploader in rows:
            found = Found(url, Kind(kind), depth, bool(follow), found_as, context, uploader)
            self._insert(found, task.place, task.id, task.url, title)

    def _count_barren(self, db: sqlite3.Connection, task: Task, *, fresh: bool) -> None:
        barren = "0" if fresh else "barren + 1"
        db.execute(
            "INSERT INTO shape VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET barren = " + barren,  # noqa: S608  ours
            (self._run, urls.shape_of(task.url), int(not fresh)),
        )

    def barren(self, url: str) -> int:
        """Return how many pages of a URL's shape brought nothing new, in a row."""
        row = self._db.execute(
            "SELECT barren FROM shape WHERE run = ? AND shape = ?", (self._run, urls.shape_of(url))
        ).fetchone()
        return int(row[0]) if row else 0

    def _count_content(self, db: sqlite3.Connection, sha256: bytes, kind: int) -> None:
        db.execute(
            "INSERT INTO content VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1",
            (self.list, sha256, kind),
        )

    def _see(self, row: int, count: int, seen: SeenAgain) -> None:
        """Note that a page shows a medium that was captured, or told of, with another page."""
        if count < _MAX_SEEN:
            text = json.dumps(_seen_fields(seen))
            self._db.execute("INSERT INTO sighting (run, seen) VALUES (?, ?)", (self.name, text))
            self._db.execute("UPDATE url SET seen = seen + 1 WHERE id = ?", (row,))

    def _see_elsewhere(self, task: Task, outcome: Outcome) -> None:
        """Tell of the other pages that named a medium before it was fetched."""
        about = outcome.header or outcome.seen
        if about is None or task.kind in _PAGES:
            return
        sha256 = about.content_sha256 if isinstance(about, CaptureHeader) else about.sha256
        rows = self._db.execute(
            "SELECT u.url, l.found_as FROM link l JOIN url u ON u.id = l.page WHERE l.target = ?"
            " AND u.url <> ? AND u.run = ? LIMIT ?",
            (task.id, task.page_url, self._run, _MAX_SEEN),
        ).fetchall()
        for count, (page_url, found_as) in enumerate(rows):
            self._see(task.id, count, SeenAgain(sha256, task.url, datetime.now(UTC), page_url, "", found_as))

    def captured(self, sha256: bytes) -> int:
        """Return how many captures of a content the list has."""
        row = self._db.execute(
            "SELECT count FROM content WHERE list = ? AND sha256 = ? AND kind = 1", (self.list, sha256)
        ).fetchone()
        return int(row[0]) if row else 0

    def known_page(self, sha256: bytes, task: Task) -> bool:
        """Whether another URL of this run brought the very same page."""
        row = self._db.execute(
            "SELECT 1 FROM url WHERE list = ? AND sha256 = ? AND run = ? AND state = 1 AND id <> ? LIMIT 1",
            (self.list, sha256, self._run, task.id),
        ).fetchone()
        return row is not None

    def done(self, url: str) -> bool:
        """Whether a URL, or another with the same canonical form, was read in this run."""
        row = self._db.execute(
            "SELECT 1 FROM url WHERE list = ? AND key = ? AND run = ? AND state = 1",
            (self.list, urls.key_of(url), self._run),
        ).fetchone()
        return row is not None

    def exchange(self, page: int | None) -> bytes | None:
        """Return how a page came, as it was packed; None: it was not kept."""
        row = self._db.execute("SELECT data FROM exchange WHERE page = ?", (page,)).fetchone()
        return bytes(row[0]) if row else None

    def rendering(self, page: int | None) -> bytes | None:
        """Return how a page looked, as it was packed; None: it was not kept."""
        row = self._db.execute("SELECT data FROM rendering WHERE page = ?", (page,)).fetchone()
        return bytes(row[0]) if row else None

    def progress(self) -> Progress:
        """Return the counts of the run."""
        pages, media, captures, size, errors, refused = self._db.execute(
            "SELECT pages, media, captures, bytes, errors, refused FROM run WHERE id = ?", (self._run,)
        ).fetchone()
        return Progress(pages, media, captures, max(0, self._waiting), size, errors, refused)

    def end(self, reason: str = "") -> None:
        """End the run: what still waits is left out."""
        with self._frontier.transaction() as db:
            if reason:
                cursor = db.execute(
                    "UPDATE url SET state = ?, reason = ? WHERE list = ? AND run = ? AND state = 0",
                    (State.LEFT_OUT, reason, self.list, self._run),
                )
                db.execute("UPDATE run SET refused = refused + ? WHERE id = ?", (cursor.rowcount, self._run))
            db.execute("UPDATE run SET ended = ? WHERE id = ?", (time.time(), self._run))
            db.execute("DELETE FROM shape WHERE run = ?", (self._run,))
            db.execute("DELETE FROM host WHERE run = ?", (self._run,))
            db.execute("DELETE FROM exchange WHERE run = ?", (self._run,))
            db.execute("DELETE FROM rendering WHERE run = ?", (self._run,))
        if reason:
            self._waiting = 0
            self._hosts.clear()
            self._round.clear()


def _spent(host: _Host, budget: HostBudget, now: float) -> str:
    """Say which part of a host's budget is used up; empty: none."""
    if host.pages >= budget.pages:
        return "the host's budget of pages is used up"
    if host.bytes >= budget.bytes:
        return "the host's budget of bytes is used up"
    if host.first and now - host.first >= budget.seconds:
        return "the host's budget of time is used up"
    return ""


def _claimed(task: Task, outcome: Outcome) -> list[Found]:
    """What a task named; whom its page claims to have put it there goes with its media."""
    uploader = task.uploader if task.kind is Kind.STYLE else outcome.uploader
    return [
        found if found.uploader or found.kind in _PAGES else replace(found, uploader=uploader)
        for found in outcome.found
    ]


def _header_fields(header: CaptureHeader) -> dict[str, Any]:
    fields = asdict(header)
    return {
        **fields,
        "capture_id": str(header.capture_id),
        "sha256": header.sha256.hex(),
        "content_sha256": header.content_sha256.hex(),
        "captured_at": header.captured_at.isoformat(),
    }


def _header(fields: dict[str, Any]) -> CaptureHeader:
    return CaptureHeader(
        **{
            **fields,
            "capture_id": UUID(fields["capture_id"]),
            "sha256": bytes.fromhex(fields["sha256"]),
            "content_sha256": bytes.fromhex(fields["content_sha256"]),
            "captured_at": datetime.fromisoformat(fields["captured_at"]).astimezone(UTC),
            "content_ranges": tuple((offset, length) for offset, length in fields["content_ranges"]),
        }
    )


def _seen_fields(seen: SeenAgain) -> dict[str, Any]:
    return {**asdict(seen), "sha256": seen.sha256.hex(), "seen_at": seen.seen_at.isoformat()}


def _seen(fields: dict[str, Any]) -> SeenAgain:
    return SeenAgain(
        **{
            **fields,
            "sha256": bytes.fromhex(fields["sha256"]),
            "seen_at": datetime.fromisoformat(fields["seen_at"]).astimezone(UTC),
        }
    )
