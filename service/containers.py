"""Containers: each part is read, and looked up, as an item of its own, some at a time.

What is told of a part (its digest among it) is a worker's word: the service does not unpack. A hostile
container can thus say what is in it; it can say nothing of other items.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any, BinaryIO, Final, Protocol, TypeVar

from indexers import containers, registry
from indexers.containers import Part
from indexers.fingerprint import Fingerprint
from indexers.modality import Alignment, Role
from service.domain import CONTAINER, Match, MatchReport, NewReference
from service.errors import BusyError, ServiceError, UnreadableMediaError
from service.inquiry import Answering, Inquiry, Options, Searched
from service.matching import decide, report
from service.matching.gather import QueryPart, gather
from service.matching.score import IDENTICAL_FILE
from service.monitored import Suspect, SuspectPart, key_of_part
from service.previewed import NewPreview, Place
from service.sandbox import Listing, Pool, Reading, ReadMedia, read_twice
from service.store import View

T = TypeVar("T")

_FAST_FROM: Final = 33
"""Parts from which on each is looked up as for a caller in a hurry: together they tell enough."""
_PART_FLOOR: Final = 0.05
"""Less probable matches of a part are not gathered."""
_WORKS_OF_PART: Final = 50
"""Most works that one part is gathered for."""
_MAX_BYTES: Final = 1024**3
"""Of all fingerprints of a container: they are kept in one commit, and in memory before."""
_MAX_DEATHS: Final = 5
"""Parts that may end the worker that reads them, before the container counts as hostile."""
_PART_SECONDS: Final = 2.0
"""How much longer than one item all parts together may take, for each of them and each worker."""
_LOADED: Final = 64
"""Parts of a captured container whose fingerprints are in memory at a time."""
_BUSY_SECONDS: Final = 1.0
"""Between two attempts to find a place in the queue."""

_NO_MEDIA: Final = ("MEDIA_UNSUPPORTED",)
"""Why a part is left out without a word: it is too small, or blank."""


class Run(Protocol):
    """Runs something that blocks in a thread."""

    def __call__(self, function: Callable[[], T]) -> Awaitable[T]:
        """Run it."""
        ...


def refuse_closed(head: bytes) -> None:
    """Refuse an archive that nothing here can open, by its first bytes.

    Raises:
        UnreadableMediaError: If it is one; the error names the format.
    """
    if (closed := containers.closed(head)) is not None:
        raise UnreadableMediaError("MEDIA_UNSUPPORTED", containers.refusal(closed))


def new_reference(
    filename: str, read: ReadMedia, previews: Mapping[Place, NewPreview], place: Place = None
) -> NewReference:
    """What is registered of a media item; parts are called by the container's name and their own.

    Args:
        filename: What it is called.
        read: What was found in it.
        previews: What people are to be shown of it, or of its parts, by their places.
        place: Its own.
    """
    return NewReference(
        filename,
        read.modality,
        read.sha256,
        read.byte_count,
        read.fingerprints,
        weight=read.weight,
        parts=tuple(
            new_reference(f"{filename}{containers.NESTED}{part.name}", found, previews, part.place)
            for part, found in read.parts
        ),
        preview=previews.get(place),
        lost=read.lost,
    )


@dataclass(slots=True)
class _Progress:
    """How a container is getting on.

    Attributes:
        seen: Digests of the parts that were read.
        unreadable: Parts that could not be read, by why.
        late: Parts that there was no time for.
        byte_count: Of the fingerprints.
        notes: What was left out of the looking-up of parts.
    """

    seen: set[bytes]
    unreadable: Counter[str]
    late: int = 0
    byte_count: int = 0
    notes: dict[str, None] | None = None

    def first_time(self, sha256: bytes) -> bool:
        """Whether no part before was this very file."""
        known = sha256 in self.seen
        self.seen.add(sha256)
        return not known


class Containers:
    """Reads containers, and looks up what is in them."""

    def __init__(
        self, answering: Answering, pool: Pool, run: Run, observe: Callable[[ReadMedia], None]
    ) -> None:
        """Take the parts.

        Args:
            answering: What to answer with.
            pool: Reads.
            run: Runs what blocks.
            observe: Told what reading each part took.
        """
        self._with = answering
        self._pool = pool
        self._run = run
        self._observe = observe

    async def listing(self, media: BinaryIO, modality: str | None) -> Listing | None:
        """What is in a file, if it is a container of more than one text.

        Args:
            media: The file.
            modality: Kind of media that the caller names; another than `CONTAINER`: the file is that,
                whatever else is in it.

        Raises:
            UnreadableMediaError: If it cannot be opened, or is none though the caller says so.
            BusyError: If too many items wait.
        """
        if modality not in (None, CONTAINER):
            return None
        head = os.pread(media.fileno(), containers.HEAD_BYTES, 0)
        refuse_closed(head)
        if containers.kind_of(head) is None:
            if modality is None:
                return None
            formats = ", ".join(containers.FORMATS)
            raise UnreadableMediaError(
                "MEDIA_UNSUPPORTED", f"this is no container that can be opened: send {formats}"
            )
        listing = await self._pool.list_parts(media)
        if modality is None and [part.place for part in listing.parts] == [(containers.ITSELF,)]:
            return None
        return listing

    async def read(self, media: BinaryIO, listing: Listing, reading: Reading) -> ReadMedia:
        """Fingerprint all parts for reference.

        Args:
            media: The container.
            listing: What is in it.
            reading: Kept up to date with how many parts were read.

        Returns:
            The container, without the digest and size of its own: the caller knows them.

        Raises:
            UnreadableMediaError: If no part can be read, or all together take too much.
            BusyError: If the queue stays full.
        """
        parts, _ = await self._parts(media, listing, Role.REFERENCE, reading)
        reads = [found for _, found in parts]
        return ReadMedia(
            modality=CONTAINER,
            fingerprints=(),
            sha256=bytes(32),
            byte_count=0,
            decode_seconds=sum(one.decode_seconds for one in reads),
            fingerprint_seconds=sum(one.fingerprint_seconds for one in reads),
            parts=parts,
        )

    async def read_suspect(
        self, media: BinaryIO, sha256: bytes, listing: Listing
    ) -> tuple[Suspect, tuple[str, ...]]:
        """Fingerprint all parts of what was captured.

        Args:
            media: The file.
            sha256: Its digest.
            listing: What is in it.

        Returns:
            The container with its parts, and what of it was left out, for people.

        Raises:
            UnreadableMediaError: If no part can be read, or all together take too much.
            BusyError: If the queue stays full.
        """
        read, progress = await self._parts(media, listing, Role.QUERY, Reading())
        parts = tuple(
            SuspectPart(
                key=key_of_part(sha256, part.place),
                name=part.name,
                modality=found.modality,
                sha256=found.sha256,
                byte_count=part.byte_count,
                place=part.place,
                weight=found.weight,
                fingerprints=found.fingerprints,
            )
            for part, found in read
        )
        return Suspect(sha256, CONTAINER, (), parts), _notes(listing, progress)

    async def _parts(
        self, media: BinaryIO, listing: Listing, role: Role, reading: Reading
    ) -> tuple[tuple[tuple[Part, ReadMedia], ...], _Progress]:
        """Fingerprint all parts, each file once.

        Raises:
            UnreadableMediaError: If no part can be read, or all together take too much.
            BusyError: If the queue stays full.
        """
        progress = _Progress(set(), Counter())
        reading.part_count = len(listing.parts)

        async def read(part: Part) -> tuple[Part, ReadMedia]:
            found = await read_twice(self._pool, media, role=role, part=part)
            reading.parts += 1
            self._observe(found)
            progress.byte_count += sum(one.descriptors.nbytes for one in found.fingerprints)
            if progress.byte_count > _MAX_BYTES:
                raise _TooMuchError(
                    "MEDIA_LIMIT", "all that is in it says too much for one container: send it in parts"
                )
            return part, found

        outcomes = await self._each(listing, read, progress, float("inf"))
        parts = tuple(one for one in outcomes if one is not None and progress.first_time(one[1].sha256))
        if not parts:
            raise _nothing(listing, progress)
        return parts, progress

    async def match_known(
        self, suspect: Suspect, options: Options, searched: Searched | None = None
    ) -> MatchReport:
        """Answer what a captured container is a copy of, by the fingerprints that are kept of its parts.

        Args:
            suspect: The container; its parts need no fingerprints.
            options: How to answer.
            searched: Where it is looked for; None: in the catalogue.
        """
        sequence = (searched or self._with.catalogue).sequence
        of_part = _of_part(options, len(suspect.parts))
        notes: dict[str, None] = {}
        parts: list[QueryPart] = []
        for start in range(0, len(suspect.parts), _LOADED):
            some = suspect.parts[start : start + _LOADED]
            found = await self._run(partial(self._fingerprints, [part.key for part in some]))
            for part in some:
                inquiry = Inquiry(self._with, of_part, part.sha256, float("inf"), searched)
                known = found.get(part.key, ())
                try:
                    await self._run(partial(_look_at_known, inquiry, part.modality, known))
                except asyncio.CancelledError:
                    inquiry.cancel()
                    raise
                if inquiry.answer is None:
                    raise AssertionError("the last stage answers")
                notes |= dict.fromkeys(inquiry.answer.partial_reasons)
                parts.append(
                    QueryPart(part.name, part.modality, part.weight, inquiry.answer.matches, part.key)
                )
        return await self._run(lambda: self._report(parts, suspect.sha256, sequence, options, tuple(notes)))

    def _fingerprints(self, keys: Sequence[bytes]) -> dict[bytes, tuple[Fingerprint, ...]]:
        with self._with.catalogue.store.view() as view:
            return view.captures.suspect_fingerprints(keys)

    async def match(
        self, media: BinaryIO, sha256: bytes, listing: Listing, options: Options, last_moment: float
    ) -> MatchReport:
        """Answer what a container is a copy of, and which of its parts of what.

        Args:
            media: The file.
            sha256: Its digest.
            listing: What is in it.
            options: How to answer.
            last_moment: When looking up has to end so that the answer arrives in time, on the monotonic
                clock.

        Raises:
            UnreadableMediaError: If no part can be read.
            BusyError: If the queue stays full.
        """
        sequence = self._with.catalogue.sequence
        progress = _Progress(set(), Counter(), notes={})
        of_part = _of_part(options, len(listing.parts))

        async def look(part: Part) -> QueryPart | None:
            return await self._look(media, part, of_part, progress, last_moment)

        outcomes = await self._each(listing, look, progress, last_moment)
        parts = [part for part in outcomes if part is not None]
        if not parts and not progress.late:
            raise _nothing(listing, progress)
        return await self._run(
            lambda: self._report(parts, sha256, sequence, options, _notes(listing, progress))
        )

    async def _look(
        self, media: BinaryIO, part: Part, options: Options, progress: _Progress, last_moment: float
    ) -> QueryPart | None:
        """Look one part up; None: it is a file that was looked up before."""
        inquiry: Inquiry | None = None
        weight = 0.0

        async def consider(read: ReadMedia) -> Collection[int] | None:
            nonlocal inquiry, weight
            self._observe(read)
            weight = read.weight
            if inquiry is None:
                if not progress.first_time(read.sha256):
                    return None
                inquiry = Inquiry(self._with, options, read.sha256, last_moment)
            asked = inquiry
            await self._run(
                lambda: asked.look(read.modality, read.fingerprints, more=read.more, lost=read.lost)
            )
            return asked.closer

        try:
            await self._pool.read(media, role=Role.QUERY, part=part, consider=consider)
        except asyncio.CancelledError:
            if inquiry is not None:
                inquiry.cancel()
            raise
        if inquiry is None or inquiry.answer is None:
            return None
        if progress.notes is not None:
            progress.notes |= dict.fromkeys(inquiry.answer.partial_reasons)
        return QueryPart(part.name, part.modality, weight, inquiry.answer.matches)

    async def _each(
        self,
        listing: Listing,
        work: Callable[[Part], Awaitable[T]],
        progress: _Progress,
        last_moment: float,
    ) -> Sequence[T | None]:
        """Do something with each part, as many at a time as there are workers; None where that failed."""
        outcomes: list[T | None] = [None] * len(listing.parts)
        numbers = iter(_order(listing))
        ends = monotonic() + self._pool.seconds(sum(part.byte_count for part in listing.parts))
        ends += _PART_SECONDS * len(listing.parts)

        async def one_after_another() -> None:
            for number in numbers:
                left = min(last_moment, ends) - monotonic()
                if left <= 0 and last_moment <= ends:
                    progress.late += 1
                    continue
                if left <= 0:
                    raise _TooMuchError(
                        "MEDIA_TIMEOUT", "reading all that is in it took too long: send it in parts"
                    )
                outcomes[number] = await self._one(listing.parts[number], work, progress, left)

        first: Exception | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._pool.workers, len(listing.parts))):
                    group.create_task(one_after_another())
        except* ServiceError as errors:
            first = errors.exceptions[0]
        if first is not None:  # raised up there, it would be a group of one before Python 3.11.4
            raise first from None
        return outcomes

    async def _one(
        self, part: Part, work: Callable[[Part], Awaitable[T]], progress: _Progress, seconds: float
    ) -> T | None:
        try:
            async with asyncio.timeout(None if seconds == float("inf") else seconds):
                while True:
                    try:
                        return await work(part)
                    except BusyError:
                        if self._pool.closing:
                            raise
                    await asyncio.sleep(_BUSY_SECONDS)
        except TimeoutError:
            progress.late += 1
        except _TooMuchError:
            raise
        except UnreadableMediaError as error:
            progress.unreadable[error.reason] += 1
            if progress.unreadable["MEDIA_CRASHED"] + progress.unreadable["MEDIA_TIMEOUT"] > _MAX_DEATHS:
                raise
        return None

    def _report(
        self,
        parts: Sequence[QueryPart],
        sha256: bytes,
        sequence: int,
        options: Options,
        notes: tuple[str, ...],
    ) -> MatchReport:
        now = datetime.now(UTC)
        with self._with.metrics.stage("decide"), self._with.catalogue.store.view() as view:
            works = {match.work.id for part in parts for match in part.matches}
            found = gather(parts, view.get_holdings(works) if works else {})
            matches = self._with_containers(view, found, sha256, options)
        verdict, decided = decide.decide(
            report.best_of_each_work(
                report.covering(matches, options.selection), self._with.thresholds.review
            ),
            self._with.thresholds,
            decide.Upload(options.uploader_token, options.territories, now),
            f"{decide.POLICY_REVISION}/{self._with.scorer.revision}",
        )
        return MatchReport(
            verdict=verdict,
            matches=report.page(decided, options.selection),
            sequence=sequence,
            partial_reasons=notes,
            modality=CONTAINER,
            sha256=sha256,
            created_at=now,
            part_count=len(parts),
        )

    def _with_containers(
        self, view: View, found: Sequence[Match], sha256: bytes, options: Options
    ) -> list[Match]:
        """Name the container where several of its parts are found; add works that hold this very file."""
        wanted = {
            match.reference.container_id
            for match in found
            if match.reference.container_id is not None
            and sum(one.query_found for one in match.part_counts) > 1
        }
        held = view.get_references(wanted)
        matches = {
            match.work.id: replace(match, reference=held.get(match.reference.container_id, match.reference))
            if match.reference.container_id is not None
            else match
            for match in found
        }
        identical = view.references_by_sha256(sha256, owner=options.owner)
        for one in view.get_registered(identical):
            work, reference = one.work, one.reference
            known = matches.get(work.id) or _bare(work, reference, Alignment({}))
            if one.suppressed and work.id in matches and not known.suppressed:
                continue
            matches[work.id] = replace(
                known,
                suppressed=one.suppressed,
                reference=reference,
                probability=1.0,
                signals={**known.signals, IDENTICAL_FILE: 1.0},
                query_coverage=1.0,
                work_coverage=1.0,
            )
        return list(matches.values())


class _TooMuchError(UnreadableMediaError):
    """What is wrong with a container as a whole, found out at one of its parts."""


def _of_part(options: Options, parts: int) -> Options:
    """How one of so many parts is looked up, where the whole is answered as `options` say."""
    return replace(
        options,
        selection=report.Selection(_PART_FLOOR, 0.0, 0.0, _WORKS_OF_PART),
        fast=options.fast or parts >= _FAST_FROM,
    )


def _look_at_known(inquiry: Inquiry, modality: str, known: Sequence[Fingerprint]) -> None:
    """Look a part up whose fingerprints are known: by what indexes hold first, then by what is left."""
    searched = {one.scheme for one in registry.by_name(modality).channels if one.search is not None}
    first = [one for one in known if one.scheme in searched]
    rest = [one for one in known if one.scheme not in searched]
    inquiry.look(modality, first, more=bool(rest))
    if inquiry.answer is None:
        inquiry.look(modality, rest, more=False)


def _bare(work: Any, reference: Any, found: Alignment) -> Match:
    return Match(work, reference, 1.0, found.signals, (), (), 1.0, 1.0)


def _order(listing: Listing) -> list[int]:
    """Numbers of the parts in the order in which they are read.

    A deadline may come before the last: so the largest come first, except where going to and fro would mean
    to unpack again and again.
    """
    places = range(len(listing.parts))
    if listing.kind in containers.IN_ORDER or any(len(part.place) > 1 for part in listing.parts):
        return list(places)
    return sorted(places, key=lambda place: (-listing.parts[place].byte_count, place))


def _nothing(listing: Listing, progress: _Progress) -> UnreadableMediaError:
    """The error where no part could be read."""
    why = _counted(progress.unreadable)
    reason = "MEDIA_UNSUPPORTED"
    if progress.unreadable and "MEDIA_UNSUPPORTED" not in progress.unreadable:
        reason = progress.unreadable.most_common(1)[0][0]
    return UnreadableMediaError(
        reason,
        f"none of the {len(listing.parts):,} pictures, sounds and texts in the {listing.kind} says anything, "
        f"or can be read ({why}): send one that has some",
    )


def _notes(listing: Listing, progress: _Progress) -> tuple[str, ...]:
    """What was left out, for people."""
    notes = list(progress.notes or ())
    if progress.late:
        notes.append(
            f"DEADLINE: {progress.late:,} of {len(listing.parts):,} parts were not looked up in time"
        )
    unread = Counter(listing.left_out)
    unread.update({why: n for why, n in progress.unreadable.items() if why not in _NO_MEDIA})
    if unread:
        parts = "1 part was" if unread.total() == 1 else f"{unread.total():,} parts were"
        notes.append(f"PARTS: {parts} not looked up ({_counted(unread)})")
    return tuple(notes)


def _counted(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {why}" for why, count in sorted(reasons.items()))
