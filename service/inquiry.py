"""One query under way: what was found so far, stage by stage, until it is sure or all was looked at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any, Final, Protocol
from uuid import UUID

import numpy.typing as npt

from indexers import registry
from indexers.fingerprint import Fingerprint, SpanUnit, joined
from indexers.index import Hits
from indexers.modality import AlignedSegment, Alignment, Channel, Modality, Place
from service.catalogue import Catalogue
from service.domain import Match, MatchReport, Registered
from service.matching import decide, report, retrieve, verify
from service.matching.score import IDENTICAL_FILE, Scorer
from service.metrics import Metrics
from service.store import Store, View

SURE: Final = 0.99
"""Probability from which on a match of the whole query ends it: later stages would find the same."""
WHOLE: Final = 0.9
"""Part of the query that such a match covers; what else could be in the rest is looked for."""
_ALWAYS_ONE_IN = 2
"""Of the candidates of a stage that may be compared by what is never searched (`Channel.compared`), such as
local features, which takes many times as long as the rest: one in so many is, whatever its probability by the
rest."""
PLAUSIBLE: Final = 1e-4
"""The others from this probability on. Three strangers in ten have such a candidate."""
_LIKELY = 1e-3
"""Probability from which on a candidate is worth another stage to a caller in a hurry: one stranger in nine
has such a candidate, and three quarters of the copies that local features confirm are such."""
DAMAGED: Final = "DAMAGED"
"""What the reason begins with if a part of the query could not be read."""
LATER: Final = 6
"""Candidates by votes that a later stage compares, and those that lead a group: it adds parts, and where one
is a copy, its votes are many more than those of chance."""
ANEW: Final = 8
"""The same of a stage that describes the query anew, as if it were played at another speed; beside these, as
many as `ALIGNED` of those that were nearest before."""
ALIGNED: Final = 3
"""Candidates, the nearest, that are aligned whatever a first look tells (`Channel.promising`): of long copies
in a room, codes say more than peaks."""
_NEXT_STAGE = 2.0
"""A stage may take so many times as long as all before it."""

_MOSTLY_COMMON = 0.5
"""Part of a query that many works hold from which on that is told. Of an English novel it is a tenth."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a query is answered.

    Attributes:
        selection: Which matches are returned.
        uploader_token: Who uploads; empty: unknown.
        territories: Where it would be seen; empty: everywhere.
        min_sequence: Wait until this change is seen.
        owner: Only works of this owner; None: all.
        deadline: When the caller stops waiting, on the monotonic clock; None: never.
        fast: Whether to leave out the stages that take long.
    """

    selection: report.Selection
    uploader_token: str = ""
    territories: tuple[str, ...] = ()
    min_sequence: int = 0
    owner: str | None = None
    deadline: float | None = None
    fast: bool = False


class Searched(Protocol):
    """The registered works as a query sees them, as `Catalogue` does."""

    @property
    def sequence(self) -> int:
        """The last change that searches see."""
        ...

    @property
    def store(self) -> Store:
        """Where works and fingerprints are."""
        ...

    def search(self, channel: Channel, queries: npt.NDArray[Any], limit: int) -> Hits:
        """Search a channel's index within its radius."""
        ...

    def largest_index(self, modality: str) -> int:
        """Descriptors in the largest of the indexes for a kind of media."""
        ...


@dataclass(frozen=True, slots=True)
class Answering:
    """What every query is answered with.

    Attributes:
        catalogue: Where it is looked for.
        thresholds: From which probability on something is asked for.
        max_candidates: Most references that a stage verifies.
    """

    catalogue: Catalogue
    scorer: Scorer
    thresholds: decide.Thresholds
    max_candidates: int
    metrics: Metrics


class Inquiry:
    """A query under way. For one thread at a time; blocking."""

    def __init__(
        self,
        answering: Answering,
        options: Options,
        sha256: bytes | None,
        last_moment: float,
        searched: Searched | None = None,
    ) -> None:
        """Begin.

        Args:
            answering: What to answer with.
            options: How to answer.
            sha256: Digest of the query's file, where known.
            last_moment: When verification has to end so that the answer arrives in time, on the monotonic
                clock.
            searched: Where it is looked for; None: in the catalogue that `answering` names.
        """
        self._with = answering
        self._searched_in: Searched = searched or answering.catalogue
        self._options = options
        self._sha256 = sha256
        self._last_moment = last_moment
        self._started = monotonic()
        self._modality: Modality[Any] | None = None
        self._query: tuple[Fingerprint, ...] = ()
        self._stage = 0
        self._sequence: int | None = None
        self._closeness: dict[UUID, float] = {}
        self._places: dict[UUID, tuple[Place, ...]] = {}
        self._modalities: dict[UUID, Modality[Any]] = {}
        self._alignments: dict[UUID, Alignment] = {}
        self._compared: set[UUID] = set()
        self._identical: Sequence[UUID] = ()
        self._verified: dict[UUID, int] = {}
        self._registered: dict[str, int] = {}
        self._left_out: dict[str, None] = {}
        self._lost: list[tuple[float, float]] = []
        self._cancelled = False
        self.answer: MatchReport | None = None
        """What the caller gets, once that is known."""
        self.closer: frozenset[int] | None = None
        """Views of the query that are worth a closer look in the next stage; None: the answer is known."""

    def cancel(self) -> None:
        """Nobody waits for the answer: stop soon. From any thread."""
        self._cancelled = True

    def look(
        self,
        modality: str | None,
        fingerprints: Sequence[Fingerprint],
        *,
        more: bool,
        lost: Sequence[tuple[float, float]] = (),
    ) -> None:
        """Look up what a stage found; answer if that settles it, or if there is no other stage.

        Args:
            modality: Kind of media; None where only a digest is known.
            fingerprints: What the stage added.
            more: Whether there is another stage.
            lost: Where the query could not be read, as far as no stage before it said so, seconds.
        """
        self._lost += lost
        catalogue = self._searched_in
        sequence = catalogue.sequence
        # All of the answer has seen what its first look saw.
        self._sequence = sequence if self._sequence is None else self._sequence
        self._stage += 1
        put_off = False
        candidates: Sequence[UUID] = ()
        with catalogue.store.view() as view:
            if self._stage == 1:
                self._identical = self._of_same_file(view)
            if modality is not None:
                self._modality = registry.by_name(modality)
                candidates = self._candidates(view, self._modality, fingerprints)
                put_off = more and self._anew_later(self._modality)
                if not put_off:
                    self._compare(view, self._modality, fingerprints, candidates)
            self._add_identical(view)
            if more and self._goes_on():
                self.closer = self._views()
                return
            if put_off and self._modality is not None:
                self._compare(view, self._modality, fingerprints, candidates)
                self._add_identical(view)
            self.closer = None
            with self._with.metrics.stage("decide"):
                self.answer = self._report(view)

    def _anew_later(self, modality: Modality[Any]) -> bool:
        """Whether a later stage compares all candidates anew, by what says much more.

        So what is known now only counts if there is no later stage.
        """
        known = {one.scheme for one in self._query}
        return any(one.promising is not None and one.scheme not in known for one in modality.channels)

    def _compare(
        self,
        view: View,
        modality: Modality[Any],
        fingerprints: Sequence[Fingerprint],
        candidates: Sequence[UUID],
    ) -> None:
        """Align with candidates by what is known of the query.

        Those for which the stage looked closer are compared again, also where it brought them no nearer: by
        chance one look resembles something, and two do not.

        Args:
            view: Where their fingerprints are.
            modality: Of the query.
            fingerprints: What the stage added.
            candidates: What it brought nearer.
        """
        searched = {one.scheme for one in self._searched(modality)}
        if any(one.scheme not in searched for one in fingerprints):
            self._compared.clear()
        self._compare_nearest(view, modality, candidates)
        if any(one.scheme in searched for one in fingerprints):
            naming = (one for one in self._compared_last() if self._alignments[one].views)
            changed = dict.fromkeys((*candidates, *self._plausible(), *naming))
            left = [one for one in changed if one not in self._compared]
            self._verify(view, left, self._searched(modality))
        self._verify_closely(view, modality, candidates)

    def _views(self) -> frozenset[int]:
        """Views in which the query looks like anything, by what was compared last: that has seen most."""
        return frozenset[int]().union(*(self._alignments[one].views for one in self._compared_last()))

    def _compared_last(self) -> list[UUID]:
        """What the last stage compared that compared anything."""
        last = max(self._verified.values(), default=0)
        return [one for one, stage in self._verified.items() if stage == last]

    def _in_time(self) -> bool:
        return not self._cancelled and monotonic() < self._last_moment

    def _candidates(
        self, view: View, modality: Modality[Any], fingerprints: Sequence[Fingerprint]
    ) -> list[UUID]:
        """References near what the stage added, nearest first, that no earlier stage brought as near."""
        with self._with.metrics.stage("retrieve"):
            found = retrieve.retrieve(
                fingerprints,
                modality.channels,
                self._searched_in.search,
                partial(view.descriptor_owners, owner=self._options.owner),
                self._with.max_candidates,
                in_time=self._in_time,
            )
        looked_up = {fingerprint.scheme for fingerprint in self._query}
        asked = {fingerprint.scheme.id for fingerprint in fingerprints}
        voting = [one for one in modality.channels if one.scheme.id in asked and one.search]
        placing = any(one.search and one.search.step for one in voting)
        anew = placing and bool(self._compared) and any(one.scheme in looked_up for one in voting)
        self._query = joined((*self._query, *found.query))
        if not found.complete:
            self._leave_out("DEADLINE: not all of the query was looked up in time")
        # That many works of others lie near is nothing that an owner may learn.
        if found.truncated or (found.crowded and self._options.owner is None):
            self._leave_out(
                f"CANDIDATES: only the nearest {self._with.max_candidates} candidates were verified"
            )
        if found.common >= _MOSTLY_COMMON and self._options.owner is None:
            many = max(one.search.common or 0 for one in modality.channels if one.search)
            self._leave_out(
                f"COMMON: most of it is in {many} registered works or more, and what so many hold counts for "
                "nothing: where they are one work, register it once"
            )
        earlier = self._nearest()[:ALIGNED]
        nearer = []
        for candidate in found.found:
            known = self._places.get(candidate.reference_id, ())
            if anew:  # what was voted for at other speeds counts for these
                known = known[:1] if candidate.reference_id in earlier else ()
            self._places[candidate.reference_id] = (*known, *candidate.places)
            if candidate.closeness < self._closeness.get(candidate.reference_id, float("inf")):
                self._closeness[candidate.reference_id] = candidate.closeness
                nearer.append(candidate.reference_id)
        voted = [one.reference_id for one in found.found]
        # Votes of one stage say nothing against those of another.
        if anew:
            return [*dict.fromkeys((*voted[:ANEW], *earlier))]
        if placing:  # all are compared by what is known now
            return self._nearest()
        if any(one.search and one.search.votes for one in voting):
            most = len(voted) if self._stage == 1 else LATER
            return [one.reference_id for rank, one in enumerate(found.found) if rank < most or one.leads]
        return nearer

    def _nearest(self) -> list[UUID]:
        """All candidates so far, the nearest first."""
        return sorted(self._closeness, key=lambda one: (self._closeness[one], one))

    def _plausible(self) -> list[UUID]:
        """What earlier stages found plausible: these are judged by what this stage adds too, however near.

        Without local features, as flags of three stripes are, they would keep what their hashes say alone.
        """
        return [one for one in self._alignments if self._probability(one) >= PLAUSIBLE]

    def _verify(
        self,
        view: View,
        candidates: Sequence[UUID],
        query: Sequence[Fingerprint],
        worth: Callable[[UUID, Sequence[Fingerprint]], bool] | None = None,
    ) -> None:
        """Align with candidates, each as the kind of media that it is, by some of what is known.

        Args:
            view: Where their fingerprints are.
            candidates: These, most promising first.
            query: What is known of the query, or some of it.
            worth: As of `verify.verify`.
        """
        self._modalities |= self._kinds(view, [one for one in candidates if one not in self._modalities])
        known = [one for one in candidates if one in self._modalities]
        with self._with.metrics.stage("verify"):
            alignments = self._identities(known, query)
            others = [one for one in known if one not in alignments]
            verified = verify.verify(
                query, others, self._modalities, view.fingerprints, self._in_time, worth=worth
            )
        alignments |= verified.alignments
        self._alignments |= alignments
        self._verified |= dict.fromkeys(alignments, self._stage)
        if verified.left_out:
            self._leave_out("DEADLINE: not all candidates were verified in time")

    def _identities(self, candidates: Sequence[UUID], query: Sequence[Fingerprint]) -> dict[UUID, Alignment]:
        """How the query relates to those candidates that are its very file, as far as that needs no look."""
        identical = set(self._identical)
        same = [one for one in candidates if one in identical and self._closeness.get(one) == 0.0]
        found = {one: self._modalities[one].identity(query) for one in same}
        return {one: alignment for one, alignment in found.items() if alignment is not None}

    def _kinds(self, view: View, candidates: Sequence[UUID]) -> dict[UUID, Modality[Any]]:
        """What kind of media each candidate is: asked for only where several share schemes with the query."""
        if self._modality is not None and len(registry.sharing(one.scheme.id for one in self._query)) == 1:
            return dict.fromkeys(candidates, self._modality)
        found = view.get_references(candidates).values()
        return {one.id: registry.by_name(one.modality) for one in found}

    def _searched(self, modality: Modality[Any]) -> tuple[Fingerprint, ...]:
        """The query's fingerprints that are looked up in indexes."""
        searched = {channel.scheme.id for channel in modality.channels if channel.search}
        return tuple(one for one in self._query if one.scheme.id in searched)

    def _compare_nearest(self, view: View, modality: Modality[Any], candidates: Sequence[UUID]) -> None:
        """Align with the nearest by all that is known, where that is asked for (`Channel.unsifted`).

        Args:
            view: Where their fingerprints are.
            modality: Of the query.
            candidates: What the stage brought nearer: compared again.
        """
        known = {one.scheme for one in self._query}
        some = [one for one in modality.channels if one.unsifted and one.scheme in known]
        if not some:
            return
        nearest = self._nearest()
        most = max(channel.compared for channel in some)
        chosen = nearest[:most]
        later = bool(self._compared)
        again = [one for one in candidates if one in self._compared]
        promising = next((one.promising for one in some if one.promising), None)
        glimpse = next((one.glimpse for one in some if one.glimpse), None)
        new = [one for one in (candidates if glimpse else chosen) if one not in self._compared]
        if promising is None:
            self._verify(view, [*again, *new], self._query)
            self._compared.update(chosen)
            return
        near = set(candidates if later else chosen)

        def worth(reference_id: UUID, work: Sequence[Fingerprint]) -> bool:
            if reference_id in nearest[:ALIGNED] and not later:
                return True
            if reference_id in near:
                return promising(self._query, work, self._places.get(reference_id, ()))
            return glimpse is not None and glimpse(self._query, work)

        self._verify(view, [*again, *new], self._query, worth)
        self._compared.update(candidates)

    def _verify_closely(self, view: View, modality: Modality[Any], candidates: Sequence[UUID]) -> None:
        """Align with the most probable candidates by all that is known, if that is more than is searched.

        Of those that are not plausible, the nearest: probabilities that small say less. Those that were
        compared closely before are compared again if a stage brought them nearer and they still are
        plausible.

        Args:
            view: Where their fingerprints are.
            modality: Of the query.
            candidates: What the stage brought nearer.
        """
        sifted = [one for one in modality.channels if one.search is None and not (one.unsifted or one.beside)]
        if not sifted or len(self._searched(modality)) == len(self._query):
            return
        again = [one for one in candidates if one in self._compared and self._probability(one) >= PLAUSIBLE]
        left = {one: self._probability(one) for one in self._alignments if one not in self._compared}
        plausible = {one: p if p >= PLAUSIBLE else 0.0 for one, p in left.items()}
        probable = sorted(left, key=lambda one: (-plausible[one], self._closeness.get(one, 0.0), one))
        most = max(channel.compared for channel in sifted)
        chosen = [
            one
            for rank, one in enumerate(probable[:most])
            if rank < most // _ALWAYS_ONE_IN or plausible[one] > 0.0
        ]
        self._compared.update(chosen)
        self._verify(view, [*again, *chosen], self._query)

    def _of_same_file(self, view: View) -> Sequence[UUID]:
        """References whose file is the query's own."""
        if self._sha256 is None:
            return ()
        return view.references_by_sha256(self._sha256, owner=self._options.owner)

    def _add_identical(self, view: View) -> None:
        """Count references whose file is the query's own as copies for certain."""
        unverified = [one for one in self._identical if one not in self._alignments]
        if self._modality is not None and unverified:
            self._verify(view, unverified, self._searched(self._modality))
        for reference_id in self._identical:
            found = self._alignments.get(reference_id, Alignment({}))
            signals = {**found.signals, IDENTICAL_FILE: 1.0}
            segments = self._all_of_it() or found.segments
            self._alignments[reference_id] = replace(
                found,
                signals=signals,
                segments=segments,
                query_coverage=1.0,
                work_coverage=1.0,
                uncertain=False,
            )

    def _all_of_it(self) -> tuple[AlignedSegment, ...]:
        """The query from its beginning to its end, as far as it was described, if it goes on for a while."""
        unit = None if self._modality is None else self._modality.channels[0].scheme.span_unit
        spans = [one.spans for one in self._query if one.scheme.span_unit is unit and len(one)]
        if unit is None or unit is SpanUnit.FRAME or not spans:
            return ()
        whole = min(float(one[:, 0].min()) for one in spans), max(float(one[:, 1].max()) for one in spans)
        return (AlignedSegment(whole, whole, 1.0, unit),)

    def _goes_on(self) -> bool:
        """Whether another stage is worth its time, and has time."""
        modality = self._modality
        if modality is None or self._cancelled or self._settled(modality):
            return False
        if self._options.fast and not self._goes_on_fast(modality):
            return False
        now = monotonic()
        if now + _NEXT_STAGE * (now - self._started) > self._last_moment:
            self._leave_out(f"DEADLINE: no time for {', '.join(modality.stages[self._stage :])}")
            return False
        return True

    def _goes_on_fast(self, modality: Modality[Any]) -> bool:
        if self._stage < modality.fast_stages - 1:
            return True
        return self._stage < modality.fast_stages and any(
            self._probability(one) >= _LIKELY for one in self._alignments
        )

    def _settled(self, modality: Modality[Any]) -> bool:
        """Whether a reference of the query's own kind is all of it for certain, or the scene of all of it."""
        scene = self._stage in modality.scene_stages
        uncertain = self._stage in modality.place_stages
        return any(
            alignment.query_coverage >= WHOLE
            and not (uncertain and alignment.uncertain)
            and self._modalities.get(one, modality) is modality
            and self._probability(one, alone=True, scene=scene) >= SURE
            for one, alignment in self._alignments.items()
        )

    def _probability(self, reference_id: UUID, *, alone: bool = False, scene: bool = False) -> float:
        """How sure it is that the query holds a copy of a reference.

        Args:
            reference_id: One that was aligned.
            alone: Leave out what only accompanies it (`Modality.accompanying`).
            scene: Count another moment of the same scene too.
        """
        scorer = self._with.scorer
        of = scorer.scene if scene else scorer.probability
        signals = self._alignments[reference_id].signals
        modality = self._modalities.get(reference_id)
        if modality is None:  # known by its digest alone
            return of("", signals, 1)
        if alone:
            signals = {name: one for name, one in signals.items() if name not in modality.accompanying}
        if modality.name not in self._registered:
            self._registered[modality.name] = self._searched_in.largest_index(modality.name)
        return of(modality.name, signals, self._registered[modality.name])

    def _leave_out(self, what: str) -> None:
        self._left_out[what] = None

    def _report(self, view: View) -> MatchReport:
        if self._lost:
            lost = ", ".join(f"{start:.1f} to {end:.1f} s" for start, end in self._lost)
            self._leave_out(f"{DAMAGED}: {lost} could not be read: send the whole file if there is one")
        now = datetime.now(UTC)
        options, thresholds, scorer = self._options, self._with.thresholds, self._with.scorer
        matches = [self._match_of(one) for one in view.get_registered(self._alignments.keys())]
        counting = report.best_of_each_work(report.covering(matches, options.selection), thresholds.review)
        verdict, decided = decide.decide(
            counting,
            thresholds,
            decide.Upload(options.uploader_token, options.territories, now),
            f"{decide.POLICY_REVISION}/{scorer.revision}",
        )
        return MatchReport(
            verdict=verdict,
            matches=report.page(decided, options.selection),
            sequence=self._sequence or 0,
            partial_reasons=tuple(self._left_out),
            modality=None if self._modality is None else self._modality.name,
            sha256=self._sha256,
            created_at=now,
        )

    def _match_of(self, registered: Registered) -> Match:
        reference = registered.reference
        alignment = self._alignments[reference.id]
        probability = self._probability(reference.id)
        modality = self._modalities.get(reference.id)
        accompanied = modality is not None and not modality.accompanying.isdisjoint(alignment.signals)
        alone = self._probability(reference.id, alone=True) if accompanied else probability
        scene = alone
        if modality is not None and self._with.scorer.asks_for_moments(modality.name):
            scene = self._probability(reference.id, alone=True, scene=True)
        return Match(
            work=registered.work,
            reference=reference,
            probability=probability,
            alone=alone,
            scene=scene,
            accompanying=probability >= self._with.thresholds.review > alone,
            signals=alignment.signals,
            segments=alignment.segments,
            regions=alignment.regions,
            query_coverage=alignment.query_coverage,
            work_coverage=alignment.work_coverage,
            suppressed=registered.suppressed,
        )
