"""Gather: what the parts of a container tell of each work together.

A part that only one owner's works hold speaks for a copy by itself: by `ONE_PART` of its probability if it
says as much as a picture, by less if it says less, such as an icon. A reference that is a work's by itself,
and no part of a container, speaks by all of it. Such parts add up as independent witnesses do:
P = 1 - Π (1 - w·p).

What the works of several owners hold, such as a game engine's files, tells nothing by itself, however many of
them there are. It counts as a share of the work, divided by the number of owners: from `SHARE_FROM` on the
share speaks for a copy, and from `SHARE_FULL` on it does for certain, so that two owners of one work are both
told. The larger of both is the probability of the whole.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from service.domain import Action, Holding, Match, PartCount, PartMatch

ONE_PART: Final = 0.6
"""Weight of a part that says as much as a picture, among others of its container: one is worth a look, three
are hardly chance. Chosen, not fitted."""
SHARE_FROM: Final = 0.1
"""Share of a work, divided among the owners that hold the parts too, that begins to speak for a copy.
Chosen."""
SHARE_FULL: Final = 0.3
"""Share that makes it certain: more than half of what two owners hold. Chosen."""
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
        key: As in `PartMatch`.
    """

    name: str
    modality: str
    weight: float
    matches: tuple[Match, ...]
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class _Pair:
    """A part, and what it matches in a work.

    Attributes:
        owners: How many owners have works that hold it, ≥ 1.
    """

    part: QueryPart
    match: Match
    owners: int


def gather(parts: Sequence[QueryPart], holdings: Mapping[UUID, Sequence[Holding]]) -> tuple[Match, ...]:
    """One match for each work that a part matches.

    Args:
        parts: All parts of the query that say something.
        holdings: What the works that are matched hold.

    Returns:
        In no particular order, without a decision. `reference` is what the best part matches; coverages are
        shares by weight. What is suppressed counts only in works of which nothing else is found.
    """
    pairs: dict[UUID, list[_Pair]] = {}
    for part in parts:
        owners = {match.work.owner for match in part.matches if match.probability >= COUNTS_FROM}
        for match in part.matches:
            pairs.setdefault(match.work.id, []).append(_Pair(part, match, max(1, len(owners))))
    total = sum(part.weight for part in parts)
    counts = Counter(part.modality for part in parts)
    return tuple(
        _of_work(found, holdings.get(work_id, ()), total, counts) for work_id, found in pairs.items()
    )


def _of_work(
    pairs: Sequence[_Pair], holdings: Sequence[Holding], total: float, counts: Mapping[str, int]
) -> Match:
    heard = [pair for pair in pairs if not pair.match.suppressed]
    if any(pair.match.probability >= COUNTS_FROM for pair in heard):
        pairs = heard
    ranked = sorted(
        pairs, key=lambda pair: (-_evidence(pair, _copy), -pair.match.probability, pair.part.name)
    )
    found = [pair for pair in ranked if pair.match.probability >= COUNTS_FROM]
    distinct = _of_each_reference(found)
    held = _largest(distinct, holdings)
    weight = sum(one.weight for one in held) or 1.0
    covered = [(pair, pair.match.work_coverage * pair.match.reference.weight / weight) for pair in distinct]
    work_share = sum(share for _, share in covered)
    divided = sum(share / pair.owners for pair, share in covered)
    query_share = sum(pair.match.query_coverage * pair.part.weight for pair in found) / (total or 1.0)
    best = ranked[0].match
    alone = len(found) == 1
    return replace(
        best,
        probability=_probability(ranked, distinct, divided, _copy),
        alone=_probability(ranked, distinct, divided, _alone),
        scene=_probability(ranked, distinct, divided, _scene),
        segments=best.segments if alone else (),
        regions=best.regions if alone else (),
        query_coverage=min(1.0, query_share),
        work_coverage=min(1.0, work_share),
        action=Action.ALLOW,
        licence=None,
        parts=tuple(_listed(pair) for pair in found[:MOST_LISTED]),
        part_counts=_counted(found, distinct, held, counts),
    )


def _copy(match: Match) -> float:
    return match.probability


def _alone(match: Match) -> float:
    return match.alone


def _scene(match: Match) -> float:
    return max(match.scene, match.alone)


def _probability(
    ranked: Iterable[_Pair], distinct: Sequence[_Pair], share: float, of: Callable[[Match], float]
) -> float:
    missed = 1.0
    for pair in _of_each_reference(ranked):
        missed *= 1.0 - _evidence(pair, of)
    if not distinct:
        return 1.0 - missed
    certainty = sum(of(pair.match) for pair in distinct) / len(distinct)
    progress = (share - SHARE_FROM) / (SHARE_FULL - SHARE_FROM)
    return max(1.0 - missed, certainty * min(max(progress, 0.0), 1.0))


def _evidence(pair: _Pair, of: Callable[[Match], float]) -> float:
    """What a part that is found tells of the whole, 0..1, by how sure `of` says that it is."""
    reference = pair.match.reference
    if reference.container_id is None:
        return of(pair.match)
    return 0.0 if pair.owners > 1 else ONE_PART * min(1.0, reference.weight) * of(pair.match)


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
        key=pair.part.key,
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
