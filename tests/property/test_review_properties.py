"""Whatever is decided, undone and found: the row of a case, its events and all counts say the same."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from service.review import Desk
from service.reviewed import (
    Case,
    CaseFilter,
    CaseOrder,
    CaseState,
    Chosen,
    Outcome,
    PrecisionKind,
    Ruling,
    digest_of_event,
)
from service.store import Store
from service.store.schema import cases, tallies
from tests.contract.reviewing import ADMIN, NOW, Scene, scene_in
from tests.contract.store_values import SCHEMES

DESK = Desk()


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"sqlite:///{Path(folder) / 'copyhound.db'}", SCHEMES)
        yield scene_in(store, 0)
        store.close()


@dataclass
class Model:
    """A case, said once more: what came when, and which decisions stand."""

    number: int = 0
    reports: list[int] = field(default_factory=list)
    decisions: dict[int, Outcome] = field(default_factory=dict)
    undone: set[int] = field(default_factory=set)

    def happens(self) -> int:
        self.number += 1
        return self.number

    @property
    def standing(self) -> int:
        return max((one for one in self.decisions if one not in self.undone), default=0)

    def check(self, case: Case) -> None:
        still_open = sum(number > self.standing for number in self.reports)
        assert (case.revision, case.report_count) == (self.number, len(self.reports))
        assert case.open_count == still_open
        assert (case.decision.number if case.decision else 0) == self.standing
        if still_open:
            assert case.state is CaseState.OPEN
        elif self.decisions[self.standing] is Outcome.NEED_MORE:
            assert case.state is CaseState.WAITING
        else:
            assert case.state is CaseState.DECIDED


STEPS = st.lists(
    st.one_of(
        st.sampled_from(Outcome),
        st.just("found"),
        st.integers(0, 3),  # undo the decision of that rank
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=12, deadline=None)
@given(STEPS)
def test_decisions_and_their_undoing_leave_all_counts_right(scene: Scene, steps: list[object]) -> None:
    (work,) = scene.add_works(1)
    site = f"{work.id}.example"
    model = Model()
    content = 100 * len(scene.works)

    def find() -> None:
        nonlocal content
        content += 1
        scene.see(content, site)
        scene.find(content, [work])
        model.reports.append(model.happens())

    find()
    for step in steps:
        case = scene.case(work, site)
        if isinstance(step, Outcome):
            with scene.store.transaction() as transaction:
                DESK.decide(transaction, ADMIN, Chosen(case.id, case.revision), Ruling(step), NOW)
            model.decisions[model.happens()] = step
        elif isinstance(step, int):
            left = sorted(set(model.decisions) - model.undone)
            if len(left) <= step:
                continue
            with scene.store.transaction() as transaction:
                DESK.undo(transaction, ADMIN, case.id, left[step], NOW)
            model.undone.add(left[step])
            model.happens()
        else:
            find()
        model.check(scene.case(work, site))

    with scene.store.view() as view:
        previous = bytes(32)
        for event in DESK.history(view, ADMIN, scene.case(work, site).id):
            assert event.sha256 == digest_of_event(event, previous)
            previous = event.sha256
        counts = {one.key: (one.right, one.wrong) for one in DESK.precision(view, ADMIN, PrecisionKind.WORK)}
        examples = [one for one in DESK.examples(view, ADMIN) if one.work_id == work.id]
    standing = model.decisions.get(model.standing)
    covered = sum(number < model.standing for number in model.reports)
    wanted = 0 if standing in (None, Outcome.NEED_MORE) else covered
    assert len(examples) == wanted
    assert sum(counts.get(str(work.id), (0, 0))) == wanted
    check_tallies(scene.store)


def check_tallies(store: Store) -> None:
    """Compare the counts that are kept with what they count."""
    with store._database.reader.connect() as connection:
        rows = connection.execute(select(cases.c.owner, cases.c.site, cases.c.state)).all()
        kept = connection.execute(select(tallies).where(tallies.c.kind.in_(("state", "site")))).all()
    found: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        for owner in ("", row.owner):
            found[owner, "state", row.state] += 1
            found[owner, "site", row.site] += row.state == "open"
    assert {key: count for key, count in found.items() if count} == {
        (row.owner, row.kind, row.name): row.first for row in kept if row.first
    }
    with store.view() as view:
        every = view.cases.page(CaseFilter(), CaseOrder.NEWEST, after=None, limit=10_000)
    assert len(every) == len(rows)
