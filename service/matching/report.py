"""Report: the matches that are returned, best first, one for each work."""

from collections.abc import Iterable
from dataclasses import dataclass

from service.domain import Match


@dataclass(frozen=True, slots=True)
class Selection:
    """Which matches the caller wants.

    Attributes:
        min_probability: 0..1.
        min_query_coverage: 0..1.
        min_work_coverage: 0..1.
        page_size: Most matches, ≥ 1.
    """

    min_probability: float
    min_query_coverage: float
    min_work_coverage: float
    page_size: int


def best_of_each_work(matches: Iterable[Match], review: float) -> tuple[Match, ...]:
    """The most probable match of each work, most probable first; ties by coverage, then by id.

    One that is suppressed gives way to another of its work from `review` on: the probability, 0..1, from
    which a match asks for anything.
    """
    best: dict[object, Match] = {}
    ranked = sorted(matches, key=_rank)
    for match in sorted(ranked, key=lambda match: match.suppressed or match.probability < review):
        best.setdefault(match.work.id, match)
    return tuple(sorted(best.values(), key=_rank))


def covering(matches: Iterable[Match], selection: Selection) -> tuple[Match, ...]:
    """The matches that cover enough of query and work to count at all."""
    return tuple(
        match
        for match in matches
        if match.query_coverage >= selection.min_query_coverage
        and match.work_coverage >= selection.min_work_coverage
    )


def page(matches: Iterable[Match], selection: Selection) -> tuple[Match, ...]:
    """The matches that are returned: probable enough, they or a part, and no more than were asked for."""
    probable = [match for match in matches if _surest(match) >= selection.min_probability]
    return tuple(probable[: selection.page_size])


def _surest(match: Match) -> float:
    return max((match.probability, *(part.probability for part in match.parts)))


def _rank(match: Match) -> tuple[float, float, str]:
    return (-match.probability, -match.query_coverage, str(match.reference.id))
