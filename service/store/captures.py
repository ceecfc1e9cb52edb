"""Captures, their custody, their contents, and the suspects' fingerprints, in the database."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy.typing as npt
from sqlalchemy import Connection, Row, case, delete, func, insert, literal, select, update
from uuid_utils.compat import uuid7

from indexers.fingerprint import Fingerprint, Scheme
from service.errors import AlreadyExistsError, NotFoundError
from service.monitored import (
    Capture,
    Content,
    ContentState,
    CustodyEvent,
    NewCapture,
    Seen,
    Suspect,
    SuspectPart,
    Watch,
    digest_of_event,
)
from service.store import codec, monitor_codec
from service.store.cases import CaseWriter
from service.store.prepared import Query
from service.store.schema import (
    SUSPECT_IDS,
    captures,
    contents,
    custody_events,
    fingerprints,
    monitoring_lists,
    recalls,
    registration_marks,
    report_lists,
    reports,
    sightings,
    suspect_fingerprints,
    suspect_parts,
    suspect_removals,
    watches,
    work_references,
)

FIRST_DIGEST = bytes(32)
"""What the first custody event of a capture has for the digest of the one before."""
SERVER = "server"
"""The actor of what the server does by itself."""

_WATCHED = {
    ContentState.PENDING: ("waiting",),
    ContentState.READ: ("ready", "matched"),
    ContentState.UNREADABLE: ("unreadable",),
}
"""States of the watches of contents that are so far."""

_OLDEST_MATCH = Query(
    select(watches.c.sequence).where(watches.c.state == "matched").order_by(watches.c.sequence).limit(1)
)
_UNREAD = Query(
    select(func.count()).select_from(contents).where(contents.c.state == ContentState.PENDING.value)
)
_UNMATCHED = Query(select(func.count()).select_from(watches).where(watches.c.state == "ready"))
_AT_ONCE = 500
"""Values in one condition: databases bound their number."""


class Captures:
    """Reads captures and suspects, in whatever transaction the connection is in."""

    def __init__(
        self, connection: Connection, known: Mapping[str, Scheme], scheme_ids: Mapping[str, int]
    ) -> None:
        """Read through `connection`; `known` and `scheme_ids` as in `View`."""
        self._connection = connection
        self._known = known
        self._scheme_ids = scheme_ids

    def get(self, capture_id: UUID) -> Capture:
        """A capture.

        Raises:
            NotFoundError: If there is none.
        """
        row = self._connection.execute(select(captures).where(captures.c.id == capture_id)).one_or_none()
        if row is None:
            raise NotFoundError(f"There is no capture {capture_id}", capture=str(capture_id))
        return _to_capture(row)

    def exists(self, capture_id: UUID, sha256: bytes) -> bool:
        """Whether this very capture is there.

        Raises:
            AlreadyExistsError: If another capture has the id.
        """
        known = self._connection.execute(
            select(captures.c.sha256).where(captures.c.id == capture_id)
        ).scalar_one_or_none()
        if known not in (None, sha256):
            raise AlreadyExistsError(
                f"capture {capture_id} was another file; draw an id for each capture", capture=str(capture_id)
            )
        return known is not None

    def custody(self, capture_id: UUID) -> list[CustodyEvent]:
        """What happened to a capture, in order."""
        rows = self._connection.execute(
            select(custody_events)
            .where(custody_events.c.capture_id == capture_id)
            .order_by(custody_events.c.number)
        )
        return [
            CustodyEvent(row.number, row.at, row.actor, row.action, row.detail, row.sha256) for row in rows
        ]

    def holding(self, sha256: bytes) -> Capture | None:
        """A capture that holds a content; None: there is none."""
        content = self.content(sha256)
        if content is not None:
            return self.get(content.capture_id)
        query = select(captures).where(captures.c.content_sha256 == sha256).limit(1)  # its list was deleted
        row = self._connection.execute(query).one_or_none()
        return None if row is None else _to_capture(row)

    def content(self, sha256: bytes) -> Content | None:
        """A content; None: it was never captured, or erased."""
        row = self._connection.execute(select(contents).where(contents.c.sha256 == sha256)).one_or_none()
        return None if row is None else _to_content(row)

    def of_run(
        self, run_id: UUID, state: ContentState | None, *, after: UUID | None, limit: int
    ) -> list[tuple[Capture, Content]]:
        """Contents that a run was the first of its list to see, each with a capture of that list.

        Args:
            run_id: The run.
            state: How far they are; None: whatever.
            after: Begin after the content whose digest begins so (`Content.half`).
            limit: Most of them.
        """
        capture = (
            select(sightings.c.capture_id)
            .where(
                sightings.c.content_sha256 == watches.c.content_sha256,
                sightings.c.list_id == watches.c.list_id,
                sightings.c.capture_id.is_not(None),
            )
            .order_by(sightings.c.id)
            .limit(1)
            .scalar_subquery()
        )
        query = select(watches.c.content_sha256, capture.label("capture_id")).where(
            watches.c.run_id == run_id, capture.is_not(None)
        )
        if state is not None:
            query = query.where(watches.c.state.in_(_WATCHED[state]))
        if after is not None:
            query = query.where(watches.c.content_sha256 > after.bytes + b"\xff" * 16)
        chosen = query.order_by(watches.c.content_sha256).limit(limit).subquery()
        of_capture = select(captures).join(chosen, chosen.c.capture_id == captures.c.id)
        held = {row.content_sha256: _to_capture(row) for row in self._connection.execute(of_capture)}
        of_content = select(contents).join(chosen, chosen.c.content_sha256 == contents.c.sha256)
        rows = self._connection.execute(of_content.order_by(contents.c.sha256))
        return [(held[row.sha256], _to_content(row)) for row in rows]

    def pending_contents(self, limit: int) -> list[Content]:
        """Contents that are still to be read, oldest first."""
        query = select(contents).where(contents.c.state == ContentState.PENDING.value)
        rows = self._connection.execute(query.order_by(contents.c.created_at).limit(limit))
        return [_to_content(row) for row in rows]

    def ready_watches(self, limit: int) -> list[Watch]:
        """Contents that were read and are still to be matched for lists."""
        return self._watches(watches.c.state == "ready", limit)

    def matched_watches(self, sha256: bytes) -> list[Watch]:
        """The lists that a content was matched for."""
        return self._watches((watches.c.content_sha256 == sha256) & (watches.c.state == "matched"), None)

    def _watches(self, which: Any, limit: int | None) -> list[Watch]:
        columns = [column for column in monitoring_lists.c if column.name != "created_at"]
        query = (
            select(watches.c.content_sha256, watches.c.sequence.label("seen"), *columns)
            .join(monitoring_lists, monitoring_lists.c.id == watches.c.list_id)
            .where(which)
            .limit(limit)
        )
        return [
            Watch(
                sha256=row.content_sha256,
                list_id=row.id,
                owner=row.owner,
                settings=monitor_codec.load_settings(
                    row.settings, row.items, title=row.title, expires_at=row.expires_at, places=False
                ),
                sequence=row.seen,
            )
            for row in self._connection.execute(query)
        ]

    def oldest_match(self) -> int | None:
        """The least change of the works that a matched content has seen; None: nothing was matched yet."""
        return next((found for (found,) in _OLDEST_MATCH.rows(self._connection, {})), None)

    def registration_marks(self) -> tuple[int, int]:
        """Up to which changes works were looked for, and are being looked for, among all suspects."""
        asked, asking = self._connection.execute(
            select(registration_marks.c.asked, registration_marks.c.asking)
        ).one()
        return asked, asking

    def new_references(self, after: int, until: int, limit: int) -> list[tuple[UUID, int]]:
        """References with fingerprints, registered after one change and up to another, with these changes.

        In order of registration; all of the last change come together, so there may be more than `limit`.
        """
        found: dict[UUID, int] = {}
        for scheme_id in self._scheme_ids.values():
            query = (
                select(fingerprints.c.reference_id, fingerprints.c.sequence)
                .where(
                    fingerprints.c.scheme_id == scheme_id,
                    fingerprints.c.sequence > after,
                    fingerprints.c.sequence <= until,
                )
                .order_by(fingerprints.c.sequence)
                .limit(limit)
            )
            found.update((one, sequence) for one, sequence in self._connection.execute(query))
        ordered = sorted(found.items(), key=lambda pair: pair[1])
        if len(ordered) <= limit:
            return ordered
        last = ordered[limit - 1][1]
        return [pair for pair in ordered if pair[1] <= last]

    def descriptors_between(self, scheme: str, after: int, until: int) -> list[tuple[int, npt.NDArray[Any]]]:
        """Descriptors of one scheme that were registered after one change and up to another.

        Returns:
            The id of each fingerprint's first descriptor, and its descriptors.
        """
        query = select(fingerprints.c.first_id, fingerprints.c.count, fingerprints.c.descriptors).where(
            fingerprints.c.scheme_id == self._scheme_ids[scheme],
            fingerprints.c.sequence > after,
            fingerprints.c.sequence <= until,
        )
        return [
            (first_id, codec.load_descriptors(self._known[scheme], count, descriptors))
            for first_id, count, descriptors in self._connection.execute(query)
        ]

    def recalled(self, limit: int) -> list[UUID]:
        """References that are suppressed no more, and still have to be looked for among all suspects."""
        query = select(recalls.c.reference_id).order_by(recalls.c.reference_id).limit(limit)
        return list(self._connection.execute(query).scalars())

    def descriptors_of(
        self, scheme: str, reference_ids: Collection[UUID]
    ) -> list[tuple[int, npt.NDArray[Any]]]:
        """As `descriptors_between`, of some references."""
        query = select(fingerprints.c.first_id, fingerprints.c.count, fingerprints.c.descriptors).where(
            fingerprints.c.scheme_id == self._scheme_ids[scheme],
            fingerprints.c.reference_id.in_(reference_ids),
        )
        return [
            (first_id, codec.load_descriptors(self._known[scheme], count, descriptors))
            for first_id, count, descriptors in self._connection.execute(query)
        ]

    def contents_with(self, sha256s: Collection[bytes]) -> set[bytes]:
        """Contents that were read and are files with one of these digests, or containers that hold one."""
        found: set[bytes] = set()
        for some in _groups(sha256s):
            query = select(contents.c.sha256).where(
                contents.c.sha256.in_(some), contents.c.state == ContentState.READ.value
            )
            holding = select(suspect_parts.c.content_sha256).where(suspect_parts.c.sha256.in_(some))
            found.update(self._connection.execute(query).scalars())
            found.update(self._connection.execute(holding).scalars())
        return found

    def digests_of(self, reference_ids: Collection[UUID]) -> set[bytes]:
        """The digests of the files of references, where they are known."""
        query = select(work_references.c.sha256).where(
            work_references.c.id.in_(reference_ids), work_references.c.sha256.is_not(None)
        )
        return set(self._connection.execute(query).scalars())

    def suspect_additions(
        self, scheme: str, after: int, until: int, *, limit: int
    ) -> list[tuple[int, bytes, npt.NDArray[Any]]]:
        """Descriptors of one scheme of contents that were read after one change and up to another.

        Args:
            scheme: Scheme id.
            after: The change before the first.
            until: The last change.
            limit: About how many fingerprints; all of one change come together.

        Returns:
            The first descriptor's id, the digest or key, and the descriptors of each, in order of ids.
        """
        columns = suspect_fingerprints.c
        low, high = (after + 1) * SUSPECT_IDS, (until + 1) * SUSPECT_IDS
        query = (
            select(columns.first_id, columns.content_sha256, columns.descriptor_count, columns.descriptors)
            .where(columns.scheme_id == self._scheme_ids[scheme])
            .order_by(columns.first_id)
        )
        in_range = query.where(columns.first_id >= low, columns.first_id < high)
        rows = self._connection.execute(in_range.limit(limit)).all()
        if len(rows) == limit:
            last = rows[-1].first_id // SUSPECT_IDS
            end = (last + 1) * SUSPECT_IDS
            rest = query.where(columns.first_id > rows[-1].first_id, columns.first_id < end)
            rows = [*rows, *self._connection.execute(rest)]
        return [
            (first_id, key, codec.load_descriptors(self._known[scheme], count, stored))
            for first_id, key, count, stored in rows
        ]

    def suspect_ids(self, scheme: str, until: int) -> list[tuple[int, bytes]]:
        """The first descriptor's id, and the digest or key, of all that was read up to a change, in order."""
        columns = suspect_fingerprints.c
        query = (
            select(columns.first_id, columns.content_sha256)
            .where(
                columns.scheme_id == self._scheme_ids[scheme],
                columns.first_id < (until + 1) * SUSPECT_IDS,
            )
            .order_by(columns.first_id)
        )
        return [(first_id, key) for first_id, key in self._connection.execute(query)]

    def suspect_removals(self, scheme: str, after: int, until: int) -> list[tuple[int, int, int]]:
        """What was erased after one change and up to another: (change, first id, count) each, in order."""
        columns = suspect_removals.c
        query = (
            select(columns.sequence, columns.first_id, columns.descriptor_count)
            .where(
                columns.scheme_id == self._scheme_ids[scheme],
                columns.sequence > after,
                columns.sequence <= until,
            )
            .order_by(columns.sequence, columns.first_id)
        )
        return [(sequence, first, count) for sequence, first, count in self._connection.execute(query)]

    def suspect(self, sha256: bytes) -> Suspect | None:
        """A content that was read, its parts without fingerprints; None: it was not read, or was erased."""
        content = self.content(sha256)
        if content is None or content.modality is None:
            return None
        found = self.suspect_fingerprints([sha256]).get(sha256, ())
        parts = self._parts(suspect_parts.c.content_sha256 == sha256) if not found else []
        return Suspect(sha256, content.modality, found, tuple(part for _, part in parts))

    def part(self, key: bytes) -> tuple[bytes, SuspectPart] | None:
        """A part of a captured container, without fingerprints, and the container's digest; None: no such."""
        found = self._parts(suspect_parts.c.key == key)
        return found[0] if found else None

    def suspect_fingerprints(self, keys: Collection[bytes]) -> dict[bytes, tuple[Fingerprint, ...]]:
        """The fingerprints, with all views, of contents (by their digests) and parts (by their keys)."""
        by_row = {self._scheme_ids[scheme]: known for scheme, known in self._known.items()}
        rows = self._connection.execute(
            select(suspect_fingerprints).where(
                suspect_fingerprints.c.content_sha256.in_(keys),
                suspect_fingerprints.c.scheme_id.in_(by_row),
            )
        )
        found: dict[bytes, tuple[Fingerprint, ...]] = {}
        for row in rows:
            fingerprint = self._fingerprint(by_row[row.scheme_id], row)
            found[row.content_sha256] = (*found.get(row.content_sha256, ()), fingerprint)
        return found

    def containers_of(self, keys: Collection[bytes]) -> dict[bytes, bytes]:
        """Of these digests and keys, those that are parts' keys, to the digests of their containers."""
        found: dict[bytes, bytes] = {}
        for some in _groups(keys):
            query = select(suspect_parts.c.key, suspect_parts.c.content_sha256)
            rows = self._connection.execute(query.where(suspect_parts.c.key.in_(some)))
            found.update((key, sha256) for key, sha256 in rows)
        return found

    def _parts(self, which: Any) -> list[tuple[bytes, SuspectPart]]:
        query = select(suspect_parts).where(which).order_by(suspect_parts.c.number)
        return [
            (
                row.content_sha256,
                SuspectPart(
                    key=row.key,
                    name=row.name,
                    modality=row.modality,
                    sha256=row.sha256,
                    byte_count=row.byte_count,
                    place=tuple(json.loads(row.place)),
                    weight=row.weight,
                    fingerprints=(),
                ),
            )
            for row in self._connection.execute(query)
        ]

    def waiting(self) -> tuple[int, int]:
        """How many contents wait to be read, and how many watches to be matched."""
        ((unread,),) = _UNREAD.rows(self._connection, {})
        ((unmatched,),) = _UNMATCHED.rows(self._connection, {})
        return unread, unmatched

    @staticmethod
    def _fingerprint(scheme: Scheme, row: Row[Any]) -> Fingerprint:
        return codec.load_fingerprint(
            scheme,
            row.descriptor_count,
            descriptors=row.descriptors,
            spans=row.spans,
            quality=row.quality,
            regions=row.regions,
            views=row.views,
        )


class CaptureWriter(Captures):
    """Adds captures, and notes what became of their contents."""

    def __init__(
        self,
        connection: Connection,
        known: Mapping[str, Scheme],
        scheme_ids: Mapping[str, int],
        next_sequence: Callable[[], int],
        cases: CaseWriter,
    ) -> None:
        """As `Captures`; `next_sequence` gives the number of another change, `cases` keeps cases."""
        super().__init__(connection, known, scheme_ids)
        self._next_sequence = next_sequence
        self._cases = cases

    def add(self, new: NewCapture, actor: str, content_bytes: int, now: datetime) -> tuple[bool, bool]:
        """Keep a capture with its first custody event; its content is read later unless it is known.

        Returns:
            Whether the very capture was there before, and whether its content was.

        Raises:
            AlreadyExistsError: If another capture has the id.
        """
        execute = self._connection.execute
        if self.exists(new.id, new.sha256):
            return True, True
        seen = new.seen
        execute(
            insert(captures),
            {
                "id": new.id,
                "run_id": new.run_id,
                "list_id": new.list_id,
                "owner": new.owner,
                "content_sha256": seen.sha256,
                "sha256": new.sha256,
                "byte_count": new.byte_count,
                "header": monitor_codec.dump_header(new),
                "captured_at": seen.at,
                "created_at": now,
            },
        )
        detail = {"sha256": new.sha256.hex(), "bytes": new.byte_count, "content": seen.sha256.hex()}
        self.add_event(new.id, actor, "RECEIVED", detail, now)
        content = self.content(seen.sha256)
        if content is None:
            execute(
                insert(contents),
                {
                    "sha256": seen.sha256,
                    "state": ContentState.PENDING.value,
                    "reason": "",
                    "byte_count": content_bytes,
                    "capture_id": new.id,
                    "created_at": now,
                },
            )
        self._see(new.list_id, new.run_id, seen, new.id)
        return False, content is not None

    def see_again(self, list_id: UUID, run_id: UUID, seen: Seen) -> bool:
        """Note a sighting of a content; False if there is no such content."""
        if self.content(seen.sha256) is None:
            return False
        self._see(list_id, run_id, seen, None)
        return True

    def add_event(
        self, capture_id: UUID, actor: str, action: str, detail: Mapping[str, object], now: datetime
    ) -> None:
        """Add a custody event to a capture's chain."""
        last = self._connection.execute(
            select(custody_events.c.number, custody_events.c.sha256)
            .where(custody_events.c.capture_id == capture_id)
            .order_by(custody_events.c.number.desc())
            .limit(1)
        ).one_or_none()
        number, previous = (1, FIRST_DIGEST) if last is None else (last.number + 1, last.sha256)
        text = monitor_codec.dump(detail)
        event = CustodyEvent(number, now, actor, action, text, b"")
        self._connection.execute(
            insert(custody_events),
            {
                "capture_id": capture_id,
                "number": number,
                "at": now,
                "actor": actor,
                "action": action,
                "detail": text,
                "sha256": digest_of_event(capture_id, event, previous),
            },
        )

    def set_read(self, read: Suspect, left_out: Sequence[str], now: datetime) -> None:
        """Keep a content's fingerprints, and those of its parts, and have it matched. Done before: nothing.

        Args:
            read: What was found in it.
            left_out: What of a container was not read, for people.
            now: UTC.
        """
        content = self.content(read.sha256)
        if content is None or content.state is not ContentState.PENDING:
            return
        found = [
            (read.sha256, read.fingerprints),
            *((part.key, part.fingerprints) for part in read.parts),
        ]
        next_ids = dict.fromkeys(self._scheme_ids, self._next_sequence() * SUSPECT_IDS)

        def taken(fingerprint: Fingerprint) -> int:
            first = next_ids[fingerprint.scheme.id]
            next_ids[fingerprint.scheme.id] += len(fingerprint)
            return first

        rows = [
            {
                "scheme_id": self._scheme_ids[fingerprint.scheme.id],
                "content_sha256": key,
                "descriptor_count": len(fingerprint),
                "descriptors": codec.dump_descriptors(fingerprint),
                "spans": codec.dump_spans(fingerprint.spans),
                "quality": codec.dump_quality(fingerprint.quality),
                "views": codec.dump_views(fingerprint.views),
                "regions": codec.dump_regions(fingerprint.regions),
                "first_id": taken(fingerprint),
            }
            for key, fingerprints in found
            for fingerprint in fingerprints
        ]
        self._connection.execute(insert(suspect_fingerprints), rows)
        if read.parts:
            self._connection.execute(insert(suspect_parts), _part_rows(read))
        self._set_content(read.sha256, ContentState.READ, "ready", modality=read.modality)
        schemes = sorted({fingerprint.scheme.id for _, some in found for fingerprint in some})
        detail: dict[str, object] = {"schemes": schemes}
        if read.parts:
            detail |= {"parts": len(read.parts), "left_out": list(left_out)}
        self.add_event(content.capture_id, SERVER, "FINGERPRINTED", detail, now)

    def set_unreadable(self, sha256: bytes, reason: str, now: datetime) -> None:
        """Note why a content cannot be read. Done before: nothing changes."""
        content = self.content(sha256)
        if content is None or content.state is not ContentState.PENDING:
            return
        self._set_content(sha256, ContentState.UNREADABLE, "unreadable", reason=reason)
        self.add_event(content.capture_id, SERVER, "UNREADABLE", {"reason": reason}, now)

    def set_matched(self, watch: Watch, sequence: int, found: int) -> bool:
        """Note that a content was matched for a list.

        Args:
            watch: Which.
            sequence: The last change of the works that the match has seen.
            found: Reports that it led to.

        Returns:
            False if works that were registered meanwhile are being looked for among the suspects: those may
            miss this one, so it has to be matched again.
        """
        _, asking = self.registration_marks()
        if sequence < asking:
            return False
        self._connection.execute(
            update(watches)
            .where(watches.c.content_sha256 == watch.sha256, watches.c.list_id == watch.list_id)
            .values(state="matched", sequence=sequence, reports=found)
        )
        return True

    def count_reports(self, watch: Watch, more: int) -> None:
        """Count reports on a content that was matched before."""
        self._connection.execute(
            update(watches)
            .where(watches.c.content_sha256 == watch.sha256, watches.c.list_id == watch.list_id)
            .values(reports=watches.c.reports + more)
        )

    def set_asking(self, until: int) -> None:
        """Note that works up to a change are being looked for among the suspects."""
        self._connection.execute(
            update(registration_marks).where(registration_marks.c.asking < until).values(asking=until)
        )

    def set_asked(self, until: int) -> None:
        """Note that works up to a change were looked for among all suspects."""
        self._connection.execute(
            update(registration_marks).where(registration_marks.c.asked < until).values(asked=until)
        )

    def set_recalled(self, reference_ids: Collection[UUID]) -> None:
        """Note that references were looked for among all suspects."""
        self._connection.execute(delete(recalls).where(recalls.c.reference_id.in_(reference_ids)))

    def _set_content(self, sha256: bytes, state: ContentState, watch_state: str, **values: object) -> None:
        self._connection.execute(
            update(contents).where(contents.c.sha256 == sha256).values(state=state.value, **values)
        )
        self._connection.execute(
            update(watches).where(watches.c.content_sha256 == sha256).values(state=watch_state)
        )

    def _see(self, list_id: UUID, run_id: UUID, seen: Seen, capture_id: UUID | None) -> None:
        """Note a sighting; a new place is added to the reports that the list has on the content."""
        execute = self._connection.execute
        self._watch(list_id, run_id, seen.sha256)
        at_place = (
            sightings.c.content_sha256 == seen.sha256,
            sightings.c.list_id == list_id,
            sightings.c.place == seen.place,
        )
        last, first, uploader = sightings.c.last_seen_at, sightings.c.capture_id, sightings.c.uploader
        known = execute(
            update(sightings)
            .where(*at_place)
            .values(
                last_seen_at=case((last < seen.at, literal(seen.at, last.type)), else_=last),
                uploader=func.coalesce(literal(seen.uploader or None, uploader.type), uploader),
                capture_id=func.coalesce(first, literal(capture_id, first.type)),
            )
        )
        if known.rowcount:
            return
        execute(
            insert(sightings),
            {
                "id": uuid7(),
                "content_sha256": seen.sha256,
                "list_id": list_id,
                "place": seen.place,
                "run_id": run_id,
                "capture_id": capture_id,
                "page_url": seen.page_url,
                "page_title": seen.page_title,
                "media_url": seen.media_url,
                "found_as": seen.found_as,
                "uploader": seen.uploader or None,
                "first_seen_at": seen.at,
                "last_seen_at": seen.at,
            },
        )
        reported = execute(
            select(reports.c.id)
            .join(report_lists, report_lists.c.report_id == reports.c.id)
            .where(reports.c.content_sha256 == seen.sha256, report_lists.c.list_id == list_id)
        ).scalars()
        for report_id in list(reported):
            execute(
                update(reports)
                .where(reports.c.id == report_id)
                .values(
                    sighting_count=reports.c.sighting_count + 1,
                    revision=reports.c.revision + 1,
                    updated_at=datetime.now(UTC),
                    sequence=self._next_sequence(),
                )
            )
            self._cases.file_seen(report_id, list_id, seen, datetime.now(UTC))

    def _watch(self, list_id: UUID, run_id: UUID, sha256: bytes) -> None:
        execute = self._connection.execute
        key = (watches.c.content_sha256 == sha256, watches.c.list_id == list_id)
        if execute(select(watches.c.list_id).where(*key)).first():
            return
        content = self.content(sha256)
        if content is None:
            raise AssertionError("a content is there before its watches")
        states = {ContentState.PENDING: "waiting", ContentState.READ: "ready"}
        execute(
            insert(watches),
            {
                "content_sha256": sha256,
                "list_id": list_id,
                "run_id": run_id,
                "state": states.get(content.state, "unreadable"),
                "sequence": 0,
                "reports": 0,
            },
        )


def _groups(values: Collection[bytes]) -> Iterator[list[bytes]]:
    every = list(values)
    for start in range(0, len(every), _AT_ONCE):
        yield every[start : start + _AT_ONCE]


def _part_rows(read: Suspect) -> list[dict[str, Any]]:
    return [
        {
            "key": part.key,
            "content_sha256": read.sha256,
            "number": number,
            "name": part.name,
            "modality": part.modality,
            "sha256": part.sha256,
            "byte_count": part.byte_count,
            "place": monitor_codec.dump(part.place),
            "weight": part.weight,
        }
        for number, part in enumerate(read.parts)
    ]


def _to_content(row: Row[Any]) -> Content:
    return Content(
        sha256=row.sha256,
        state=ContentState(row.state),
        reason=row.reason,
        modality=row.modality,
        byte_count=row.byte_count,
        capture_id=row.capture_id,
    )


def _to_capture(row: Row[Any]) -> Capture:
    header: dict[str, Any] = json.loads(row.header)
    seen = Seen(
        sha256=row.content_sha256,
        page_url=header["page_url"],
        page_title=header["page_title"],
        media_url=header["media_url"],
        found_as=header["found_as"],
        uploader=header.get("uploader", ""),
        at=row.captured_at,
    )
    new = NewCapture(
        id=row.id,
        run_id=row.run_id,
        list_id=row.list_id,
        owner=row.owner,
        seen=seen,
        ranges=tuple((offset, length) for offset, length in header["ranges"]),
        sha256=row.sha256,
        byte_count=row.byte_count,
        facts=header["facts"],
    )
    return Capture(new, row.created_at)
