"""Match on registration: works that were registered are looked for in all that was captured before.

So are references that are suppressed no more.

Each stored suspect goes through the very stages that a query goes through, against an index that holds the
new references alone. So what is found does not depend on which of both was there first, except that the works
registered before cannot crowd out the new ones. What the suspects are asked about stands in the database as
two sequence numbers (`registration_marks`), so nothing is missed when the server is killed.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from indexers import registry
from indexers.index import Hits
from indexers.index.faiss import FaissIndex
from indexers.modality import Channel
from service.catalogue import Catalogue
from service.domain import Match
from service.inquiry import Options
from service.matcher import Matcher
from service.matching.report import Selection
from service.monitored import Finding, Suspect, Watch
from service.monitoring.near import SuspectIndexes
from service.store import Store

_BLOCK = 2000
"""References that are looked for at a time."""
_RECALLED = 500
"""References that are suppressed no more of which so many are looked for at a time."""
_MOST_MATCHES = 1000


@dataclass(frozen=True, slots=True)
class Block:
    """References that were registered after one change and up to another, or that are suppressed no more.

    Attributes:
        after: The change before the first.
        until: The change of the last.
        target: The last change of those that are still to be looked for.
        references: Their ids.
        recalled: Whether they are suppressed no more.
    """

    after: int
    until: int
    target: int
    references: frozenset[UUID]
    recalled: bool = False


class NewReferences:
    """The catalogue as a query sees it, with some references alone in its indexes."""

    def __init__(self, catalogue: Catalogue, block: Block) -> None:
        """Build the indexes. Blocking."""
        self._catalogue = catalogue
        self.store: Store = catalogue.store
        self.sequence = block.until
        self.indexes: dict[str, FaissIndex] = {}
        self.rows: dict[str, dict[int, npt.NDArray[Any]]] = {}
        """Descriptors by scheme, of each reference by the id of its first."""
        for scheme_id, scheme in registry.searched().items():
            index = FaissIndex(scheme)
            with self.store.view() as view:
                if block.recalled:
                    rows = view.captures.descriptors_of(scheme_id, block.references)
                else:
                    rows = view.captures.descriptors_between(scheme_id, block.after, block.until)
            self.rows[scheme_id] = dict(rows)
            if rows:
                ids = [np.arange(first, first + len(some), dtype=np.int64) for first, some in rows]
                index.add(np.concatenate(ids), np.concatenate([some for _, some in rows]))
                self.indexes[scheme_id] = index

    def search(self, channel: Channel, queries: npt.NDArray[Any], limit: int) -> Hits:
        """As `Catalogue.search`."""
        index = self.indexes.get(channel.scheme.id)
        if channel.search is None or index is None:
            none = np.zeros(len(queries) + 1, np.int64)
            return Hits(none, np.empty(0, np.int64), np.empty(0, np.float32))
        return index.search(queries, radius=channel.search.radius, limit=limit)

    def largest_index(self, modality: str) -> int:
        """As `Catalogue.largest_index`: probabilities are those of a query against all."""
        return self._catalogue.largest_index(modality)


class Registrations:
    """Looks for new works among the suspects."""

    def __init__(self, catalogue: Catalogue, matcher: Matcher, suspects: SuspectIndexes) -> None:
        """Ask about the works of `catalogue` by means of `matcher` what is near among `suspects`."""
        self._catalogue = catalogue
        self._suspects = suspects
        self._matcher = matcher

    def next_block(self) -> Block | None:
        """What is to be looked for next; None: nothing. Blocking."""
        target = self._catalogue.sequence
        with self._catalogue.store.view() as view:
            oldest = view.captures.oldest_match()
            if oldest is None:
                return None
            after = max(view.captures.registration_marks()[0], oldest)
            found = view.captures.new_references(after, target, _BLOCK) if after < target else []
            recalled = [] if found else view.captures.recalled(_RECALLED)
        if recalled:
            return Block(target, target, target, frozenset(recalled), recalled=True)
        if not found:
            return None
        until = found[-1][1]
        return Block(after, until, max(target, until), frozenset(one for one, _ in found))

    def tend(self) -> None:
        """Bring the index of suspects up to date from time to time. Blocking."""
        self._suspects.tend()

    async def ask(self, block: Block) -> AsyncIterator[tuple[Suspect, Watch, Finding]]:
        """Yield which suspects hold the works of a block, for each list that saw them."""
        catalogue = await asyncio.to_thread(NewReferences, self._catalogue, block)
        near = await asyncio.to_thread(self._near, catalogue, block)
        for sha256 in sorted(near):
            for found in await self._findings(catalogue, block, sha256):
                yield found

    def _near(self, catalogue: NewReferences, block: Block) -> set[bytes]:
        """Suspects with a descriptor near one of the references, or with the very file of one."""
        with self._catalogue.store.view() as view:
            near = view.captures.contents_with(view.captures.digests_of(block.references))
        self._suspects.refresh(self._catalogue.store.sequence())
        for scheme_id, rows in catalogue.rows.items():
            near |= self._suspects.near(registry.channel(scheme_id), rows)
        with self._catalogue.store.view() as view:
            containers = view.captures.containers_of(near)
        return {containers.get(one, one) for one in near}

    async def _findings(
        self, catalogue: NewReferences, block: Block, sha256: bytes
    ) -> list[tuple[Suspect, Watch, Finding]]:
        suspect, watches = await asyncio.to_thread(self._load, sha256)
        if suspect is None:
            return []
        findings: dict[str, Finding] = {}
        for owner in {watch.owner for watch in watches}:
            options = Options(selection=Selection(0.0, 0.0, 0.0, _MOST_MATCHES), owner=owner)
            answer = await self._matcher.match_suspect(suspect, options, catalogue)
            matches = tuple(match for match in answer.matches if _is_new(match, block))
            findings[owner] = Finding(
                matches, answer.verdict.policy_revision, block.until, on_registration=True
            )
        return [(suspect, watch, findings[watch.owner]) for watch in watches]

    def _load(self, sha256: bytes) -> tuple[Suspect | None, list[Watch]]:
        with self._catalogue.store.view() as view:
            return view.captures.suspect(sha256), view.captures.matched_watches(sha256)


def _is_new(match: Match, block: Block) -> bool:
    """Whether a match is one of the block's references, or parts of it are."""
    found = {match.reference.id, *(part.reference.id for part in match.parts)}
    return not found.isdisjoint(block.references)
