"""Gather: what the parts of a container tell of each work together.

A part that only one owner's works hold speaks for a copy by itself: by `ONE_PART` of its probability if it
says as much as a picture, by less if it says less, such as an icon. A reference that is a work's by itself, and
no part of a container, speaks by all of it. Such parts add up as independent witnesses do: P = 1 - Π (1 - w·p).

What the works of several owners hold, such as a game engine's files, tells nothing by itself, however much of
it there is: it counts only as a share of the work. Once so much of a container is there, that speaks by itself,
from `SHARE_FROM` of it on, and for certain at `SHARE_FULL`. The larger of both is the probability of the whole.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from service.domain import Holding, Match, PartCount, PartMatch

ONE_PART: Final = 0.6
"""Weight of a part that says as much as a picture, among others of its container: one is worth a look, three
are hardly chance. Chosen, not fitted."""
SHARE_FROM: Final = 0.2
"""Share of a container that begins to speak for a copy, whoever holds the parts: more than stock files are.
Chosen."""
SHARE_FULL: Final = 0.6
"""Share that makes it certain."""
COUNTS_FROM: Final = 0.5
"""Probability from which on a part counts as found."""
MOST_LISTED: Final = 50
"""Parts that a match lists; all are counted."""


@dataclass(frozen=True, slots=True)
class QueryPart:
    """A part of the query that was looked up.

    Attributes:
        name: Its label.
        modality: Such as ``image``.
        weight: How much it says.
        matches: Of each work the best, as if the part had been asked about by itself.
    """

    name: str
    modality: str
    weight: float
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class _Pair:
    """A part, and what it matches in a work.

    Attributes:
        shared: Whether works of several owners hold it.
    """

    part: QueryPart
    match: Match
    shared: bool


def gather(parts: Sequence[QueryPart], holdings: Mapping[UUID, Sequence[Holding]]) -> tuple[Match, ...]:
    """One match for each work that a part matches.

    Args:
        parts: All parts of the query that say something.
        holdings: What the works that are matched hold.

    Returns:
        In no particular order, without a decision. `reference` is what the best part matches; coverages are
        shares by weight.
    """
    pairs: dict[UUID, list[_Pair]] = {}
    for part in parts:
        owners = {match.work.owner for match in part.matches if match.probability >= COUNTS_FROM}
        for match in part.matches:
            pairs.setdefault(match.work.id, []).append(_Pair(part, match, len(owners) > 1))
    total = sum(part.weight for part in parts)
    counts = Counter(part.modality for part in parts)
    return tuple(
        _of_work(found, holdings.get(work_id, ()), total, counts) for work_id, found in pairs.items()
    )


def _of_work(
    pairs: Sequence[_Pair], holdings: Sequence[Holding], total: float, counts: Mapping[str, int]
) -> Match:
    ranked = sorted(pairs, key=lambda pair: (-_evidence(pair), -pair.match.probability, pair.part.name))
    found = [pair for pair in ranked if pair.match.probability >= COUNTS_FROM]
    distinct = _of_each_reference(found)
    held = _largest(distinct, holdings)
    weight = sum(one.weight for one in held) or 1.0
    work_share = sum(pair.match.work_coverage * pair.match.reference.weight for pair in distinct) / weight
    query_share = sum(pair.match.query_coverage * pair.part.weight for pair in found) / (total or 1.0)
    best = ranked[0].match
    alone = len(found) == 1
    return replace(
        best,
        probability=_probability(ranked, distinct, work_share),
        segments=best.segments if alone else (),
        regions=best.regions if alone else (),
        query_coverage=min(1.0, query_share),
        work_coverage=min(1.0, work_share),
        parts=tuple(_listed(pair) for pair in found[:MOST_LISTED]),
        part_counts=_counted(found, distinct, held, counts),
    )


def _probability(ranked: Iterable[_Pair], distinct: Sequence[_Pair], work_share: float) -> float:
    missed = 1.0
    for pair in _of_each_reference(ranked):
        missed *= 1.0 - _evidence(pair)
    if not distinct:
        return 1.0 - missed
    certainty = sum(pair.match.probability for pair in distinct) / len(distinct)
    progress = (work_share - SHARE_FROM) / (SHARE_FULL - SHARE_FROM)
    return max(1.0 - missed, certainty * min(max(progress, 0.0), 1.0))


def _evidence(pair: _Pair) -> float:
    """What a part that is found tells of the whole, 0..1."""
    reference = pair.match.reference
    if reference.container_id is None:
        return pair.match.probability
    return 0.0 if pair.shared else ONE_PART * min(1.0, reference.weight) * pair.match.probability


def _of_each_reference(ranked: Iterable[_Pair]) -> list[_Pair]:
    """The first pair of each reference: several parts of the query may show the same one."""
    first: dict[UUID, _Pair] = {}
    for pair in ranked:
        first.setdefault(pair.match.reference.id, pair)
    return list(first.values())


def _largest(distinct: Iterable[_Pair], holdings: Sequence[Holding]) -> list[Holding]:
    """What the container holds of which most is found: versions of a game in one work are not added up."""
    found = Counter(pair.match.reference.container_id for pair in distinct)
    if not found:
        return []
    container, _ = min(found.items(), key=lambda item: (-item[1], str(item[0])))
    return [one for one in holdings if one.container_id == container]


def _listed(pair: _Pair) -> PartMatch:
    match = pair.match
    return PartMatch(
        name=pair.part.name,
        modality=pair.part.modality,
        reference=match.reference,
        probability=match.probability,
        query_coverage=match.query_coverage,
        work_coverage=match.work_coverage,
        segments=match.segments,
        regions=match.regions,
    )


def _counted(
    found: Iterable[_Pair], distinct: Iterable[_Pair], held: Iterable[Holding], counts: Mapping[str, int]
) -> tuple[PartCount, ...]:
    """How many parts of each kind of media are found, most first."""
    of_query = Counter(pair.part.modality for pair in found)
    of_work = Counter(pair.match.reference.modality for pair in distinct)
    in_work = Counter({one.modality: one.count for one in held})
    return tuple(
        PartCount(
            modality=modality,
            query_found=number,
            query_count=counts[modality],
            work_found=of_work[modality],
            work_count=max(in_work[modality], of_work[modality]),
        )
        for modality, number in sorted(of_query.items(), key=lambda item: (-item[1], item[0]))
    )
