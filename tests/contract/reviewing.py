"""Reports at sites of one's choice, for the tests of review."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from service.domain import KeyRole, Match, Work
from service.monitored import Finding, ListSettings, MonitoringList, NewCapture, Run, Seen, Suspect, Watch
from service.reviewed import Actor, Case, CaseFilter, CaseOrder
from service.store import Store, Transaction
from tests.contract.store_values import BITS, fingerprint, new_reference, new_work

NOW = datetime(2026, 11, 22, 12, 0, 0, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ADMIN = Actor("admin-key", KeyRole.ADMIN, None)
INVESTIGATOR = Actor("investigator-key", KeyRole.INVESTIGATOR, None)
STUDIO = Actor("studio-key", KeyRole.OWNER, "studio")
OTHER = Actor("other-key", KeyRole.OWNER, "other")


def sha256_of(number: int) -> bytes:
    """A digest by number."""
    return number.to_bytes(32, "big")


@dataclass
class Scene:
    """A store with lists and works, in which contents are found."""

    store: Store
    owner: str = "studio"
    lists: list[MonitoringList] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    works: list[Work] = field(default_factory=list)

    def add_list(self, title: str = "") -> MonitoringList:
        """Make a list with a run."""
        with self.store.transaction() as transaction:
            made = transaction.lists.create(self.owner, ListSettings(title=title), NOW)
            self.lists.append(made)
            self.runs.append(transaction.lists.start_run(made.id, NOW, scheduled=False)[0])
        return made

    def add_works(self, count: int, **fields: str) -> list[Work]:
        """Register works with one reference each."""
        made = []
        with self.store.transaction() as transaction:
            for _ in range(count):
                number = len(self.works) + 1
                title = fields.get("title", f"Work {number}")
                new = replace(new_work(None), owner=self.owner, title=title)
                made.append(transaction.create_work(new, [new_reference(number, 1)]))
                self.works.append(made[-1])
        return made

    def see(self, content: int, site: str, page: str = "", *, at: int = 0, title: str = "Page") -> None:
        """Let list `at` see a content at a site."""
        run, media = self.runs[at], f"https://{site}/{content}.jpg"
        seen = Seen(sha256_of(content), f"https://{site}/{page}", title, media, "img", NOW)
        with self.store.transaction() as transaction:
            self._add(transaction, run, content, seen)

    @staticmethod
    def _add(transaction: Transaction, run: Run, content: int, seen: Seen) -> None:
        if transaction.captures.content(seen.sha256) is None:
            transaction.captures.add(_capture(run, seen), "key", 25, NOW)
            transaction.captures.set_read(
                Suspect(seen.sha256, "image", (fingerprint(BITS, content),)), (), NOW
            )
        else:
            transaction.captures.see_again(run.list_id, run.id, seen)

    def find(
        self,
        content: int,
        works: Iterable[Work],
        *,
        at: int = 0,
        probability: float = 0.9,
        signals: dict[str, float] | None = None,
        modality: str = "image",
        now: datetime = NOW,
    ) -> int:
        """Report a content that list `at` saw as a copy of works; how many reports are new to the list."""
        watch = Watch(sha256_of(content), self.lists[at].id, self.owner, ListSettings(), 0)
        matches = [_match(work, probability, signals or {"distance": 7.0}) for work in works]
        finding = Finding(tuple(matches), "rules", 1, on_registration=False)
        with self.store.transaction() as transaction:
            return len(transaction.reports.record(watch, finding, modality, now))

    def cases(self, which: CaseFilter | None = None, order: CaseOrder = CaseOrder.NEWEST) -> list[Case]:
        """All cases."""
        with self.store.view() as view:
            return view.cases.page(which or CaseFilter(), order, after=None, limit=10_000)

    def case(self, work: Work, site: str) -> Case:
        """The case of a work at a site."""
        (found,) = self.cases(CaseFilter(work_id=work.id, site=site))
        return found


def scene_in(store: Store, works: int = 1, *, owner: str = "studio") -> Scene:
    """A scene with a list and works."""
    scene = Scene(store, owner)
    scene.add_list("Main")
    scene.add_works(works)
    return scene


def _capture(run: Run, seen: Seen) -> NewCapture:
    return NewCapture(
        id=uuid4(),
        run_id=run.id,
        list_id=run.list_id,
        owner=run.owner,
        seen=seen,
        ranges=((0, 25),),
        sha256=seen.sha256,
        byte_count=100,
        facts={},
    )


def _match(work: Work, probability: float, signals: dict[str, float]) -> Match:
    assert work.references is not None
    return Match(work, work.references[0], probability, signals, (), (), 0.5, 1.0)


def ids(found: Sequence[Case]) -> list[UUID]:
    """Their ids."""
    return [case.id for case in found]
