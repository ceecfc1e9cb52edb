"""The queue of cases: how much slower its pages are with 100,000 reports than with 100.

    python -m benchmarks.speed.bench_queue --count 100000 --json queue.json
    python -m benchmarks.speed.bench_queue --smoke

Each report is a case of its own, the worst there is for the queue. The rows are planted: written into the
tables that the queue reads, as the service would have written them; putting reports into cases by the service
itself is measured beside it. Each page is read `REPEATED` times, by turns in the small store and in the large
one; what is compared is the median CPU time of this thread.

Values are drawn so that every filter has a common value, which every second case has, and a rare one.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from uuid_utils.compat import uuid7

from benchmarks.speed import harness
from indexers import registry
from service.domain import KeyRole
from service.review import Desk
from service.reviewed import Actor, CaseFilter, CaseOrder, CaseState, Outcome
from service.store import Store, tallies, words
from service.store.cases import NEVER
from service.store.schema import case_lists, case_words, cases, decisions
from service.store.tallies import Tally

REPEATED = 21
SMALL = 100
PAGE = 50
_NOW = datetime(2026, 11, 1, tzinfo=UTC)
_ADMIN = Actor("admin", KeyRole.ADMIN, None)
_OWNER = Actor("owner", KeyRole.OWNER, "common")
_LISTS = {"common": UUID(int=1), "rare": UUID(int=2)}
_WORKS = {"common": UUID(int=3), "rare": UUID(int=4)}
_TITLES = ("night train", "blue harbour", "a long winter", "small hours", "海报设计", "the second door")
_AT_ONCE = 5000


def _choice(chance: random.Random, rare: float = 0.0002) -> str:
    """A value: ``common`` for every second case, ``rare`` for two in ten thousand, else one of a thousand."""
    drawn = chance.random()
    if drawn < 0.5:
        return "common"
    return "rare" if drawn < 0.5 + rare else f"other{chance.randrange(1000)}"


def _rows(count: int) -> Iterator[dict[str, Any]]:
    """Cases, as the service would write them, with their lists, words and decisions."""
    chance = random.Random(5)
    for number in range(count):
        state = chance.choices((CaseState.OPEN, CaseState.DECIDED, CaseState.WAITING), (6, 3, 1))[0]
        work = _choice(chance)
        title = f"{chance.choice(_TITLES)} {number} {_choice(chance)}"
        site = f"{_choice(chance)}.example"
        yield {
            "id": uuid7(),
            "owner": _choice(chance),
            "work_id": _WORKS.get(work) or uuid7(),
            "site": f"{number}.{site}" if work in _WORKS else site,
            "state": state.value,
            "outcome": None if state is CaseState.OPEN else Outcome.INFRINGING.value,
            "decision_number": 0 if state is CaseState.OPEN else 2,
            "work_title": title,
            "external_id": f"P-{number}",
            "page_url": f"https://{site}/{number}",
            "page_title": f"Watch {title}",
            "media_url": f"https://{site}/{number}.jpg",
            "probability": round(chance.random(), 4),
            "modality": chance.choices(("image", "video", "audio"), (90, 9.98, 0.02))[0],
            "report_count": 1,
            "open_count": int(state is CaseState.OPEN),
            "assignee": {"common": "key", "rare": "rare"}.get(_choice(chance)),
            "due_at": _NOW + timedelta(minutes=number) if chance.random() < 0.3 else NEVER,
            "lease_holder": "other" if number % 50 == 0 else None,
            "lease_until": NEVER if number % 50 == 0 else None,
            "revision": 2,
            "created_at": _NOW,
            "reported_at": _NOW + timedelta(seconds=number),
            "updated_at": _NOW,
        }


def plant(store: Store, count: int) -> None:
    """Write cases into a store that has none."""
    chance = random.Random(6)
    block: list[dict[str, Any]] = []
    for row in _rows(count):
        block.append(row)
        if len(block) == _AT_ONCE:
            _write(store, block, chance)
            block = []
    if block:
        _write(store, block, chance)


def _write(store: Store, rows: list[dict[str, Any]], chance: random.Random) -> None:
    found, tally = [], Tally()
    for row in rows:
        texts = (row["work_title"], row["external_id"], row["page_title"], row["site"])
        found += [{"word": word, "case_id": row["id"]} for word in words.words_of(texts)]
        tally.add(tallies.STATE, row["state"], 1)
        is_open = int(row["state"] == CaseState.OPEN.value)
        tally.add(tallies.SITE, row["site"], is_open, 1 - is_open)
    decided = [
        {
            "case_id": row["id"],
            "number": 2,
            "outcome": row["outcome"],
            "reason": "",
            "note": "",
            "actor": "key",
            "at": _NOW,
        }
        for row in rows
        if row["outcome"]
    ]
    lists = [
        {"list_id": _LISTS[one], "case_id": row["id"]} for row in rows if (one := _choice(chance)) in _LISTS
    ]
    with store._writing() as connection:  # noqa: SLF001 - what is planted has no way in of its own
        connection.execute(insert(cases), rows)
        connection.execute(insert(case_words), found)
        for table, wanted in ((decisions, decided), (case_lists, lists)):
            if wanted:
                connection.execute(insert(table), wanted)
        tally.write(connection, "common")


_OPEN = CaseFilter(states=(CaseState.OPEN,))
PAGES: dict[str, tuple[Actor, CaseFilter, CaseOrder]] = {
    "first page": (_ADMIN, _OPEN, CaseOrder.NEWEST),
    "most probable": (_ADMIN, _OPEN, CaseOrder.PROBABLE),
    "due": (_ADMIN, _OPEN, CaseOrder.DUE),
    "all states": (_ADMIN, CaseFilter(), CaseOrder.NEWEST),
    "an owner's": (_OWNER, _OPEN, CaseOrder.NEWEST),
    "an owner's, most probable": (_OWNER, _OPEN, CaseOrder.PROBABLE),
    **{
        f"{which} {name}": (_ADMIN, asked, CaseOrder.NEWEST)
        for which in ("common", "rare")
        for name, asked in {
            "site": replace(_OPEN, site=f"{which}.example"),
            "list": replace(_OPEN, list_id=_LISTS[which]),
            "work": replace(_OPEN, work_id=_WORKS[which]),
            "assignee": replace(_OPEN, assignee={"common": "key"}.get(which, which)),
            "word": replace(_OPEN, text=which),
        }.items()
    },
    "common kind of media": (_ADMIN, replace(_OPEN, modality="image"), CaseOrder.PROBABLE),
    "rare kind of media": (_ADMIN, replace(_OPEN, modality="audio"), CaseOrder.PROBABLE),
    "half by probability": (_ADMIN, replace(_OPEN, min_probability=0.5), CaseOrder.NEWEST),
    "few by probability": (_ADMIN, replace(_OPEN, min_probability=0.999), CaseOrder.NEWEST),
    "due soon": (_ADMIN, replace(_OPEN, due_before=_NOW + timedelta(minutes=60)), CaseOrder.PROBABLE),
    "of one day": (
        _ADMIN,
        replace(_OPEN, reported_from=_NOW, reported_before=_NOW + timedelta(seconds=60)),
        CaseOrder.PROBABLE,
    ),
    "two words": (_ADMIN, replace(_OPEN, text="watch harb"), CaseOrder.NEWEST),
    "unspaced words": (_ADMIN, replace(_OPEN, text="海报"), CaseOrder.NEWEST),
    "an absent word": (_ADMIN, replace(_OPEN, text="zeppelin"), CaseOrder.NEWEST),
    "common site and word": (
        _ADMIN,
        replace(_OPEN, site="common.example", text="common"),
        CaseOrder.PROBABLE,
    ),
}
"""Who asks for which page."""


def _reader(name: str) -> Callable[[Store], int]:
    """Reads a page; returns how many cases it has."""
    actor, which, order = PAGES[name]
    desk = Desk()

    def read(store: Store) -> int:
        with store.view() as view:
            return len(desk.page(view, actor, which, order, limit=PAGE))

    return read


def _second_page(store: Store) -> int:
    desk = Desk()
    with store.view() as view:
        first = desk.page(view, _ADMIN, _OPEN, limit=PAGE)
        after = desk.position(view, first[-1], CaseOrder.NEWEST)
        return len(desk.page(view, _ADMIN, _OPEN, after=after, limit=PAGE))


def _overview(store: Store) -> int:
    with store.view() as view:
        return len(Desk().overview(view, _ADMIN).sites)


def _lease(store: Store) -> int:
    with store.transaction() as transaction:
        found = Desk().lease_next(transaction, _ADMIN, CaseFilter(), CaseOrder.PROBABLE, _NOW)
        return int(found is not None)


def measure(small: Store, large: Store, repeated: int) -> dict[str, Any]:
    """Median CPU milliseconds of each page in both stores, and their ratio."""
    readers: dict[str, Callable[[Store], int]] = {name: _reader(name) for name in PAGES}
    readers |= {"two pages": _second_page, "overview": _overview, "next lease": _lease}
    figures: dict[str, Any] = {}
    for name, read in readers.items():
        spent: dict[str, list[float]] = {"small": [], "large": []}
        found = {}
        for _ in range(repeated):
            for size, store in (("small", small), ("large", large)):
                start = time.thread_time()
                found[size] = read(store)
                spent[size].append(1000 * (time.thread_time() - start))
        few, many = (statistics.median(spent[size]) for size in ("small", "large"))
        figures[name] = {
            "small_ms": few,
            "large_ms": many,
            "ratio": many / few,
            "small_cases": found["small"],
            "large_cases": found["large"],
        }
    return figures


def bounds_of(figures: Mapping[str, Mapping[str, Any]]) -> list[harness.Bound]:
    """The slowest pages: against the same page of 100 cases, or a full one where that is next to empty."""
    full = figures["first page"]["small_ms"]
    ratios: dict[str, dict[str, float]] = {"the same page": {}, "a full page": {}}
    for name, one in figures.items():
        alike = 2 * one["small_cases"] >= one["large_cases"]
        ratio = one["ratio"] if alike else one["large_ms"] / full
        ratios["the same page" if alike else "a full page"][name] = ratio
    slowest = {what: max(of_pages.items(), key=lambda one: one[1]) for what, of_pages in ratios.items()}
    return [
        harness.Bound.at_most(3.0, f"{name}, against {what} of 100 cases", ratio)
        for what, (name, ratio) in slowest.items()
    ]


def main() -> int:
    """Run what the command line asks for."""
    parser = harness.options_parser(__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="cases in the large store")
    options = parser.parse_args()
    count, repeated = (2000, 3) if options.smoke else (options.count, REPEATED)
    with tempfile.TemporaryDirectory() as folder:
        small, large = (
            Store.open(f"sqlite:///{Path(folder) / name}.db", registry.schemes())
            for name in ("small", "large")
        )
        plant(small, SMALL)
        plant(large, count)
        figures = measure(small, large, repeated)
        small.close()
        large.close()
    return harness.finish(options, {"cases": count, "pages": figures}, bounds_of(figures))


if __name__ == "__main__":
    raise SystemExit(main())
