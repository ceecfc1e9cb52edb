"""Previews in the database: what there is to show, what is still to be made, what is to be erased."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from indexers.previews import Facts, Kind
from service.previewed import Job, NewPreview, PreviewFile, PreviewSet, PreviewState, Source, Subject
from service.store.prepared import Change, Query
from service.store.schema import (
    contents,
    erasures,
    preview_files,
    preview_sets,
    suspect_parts,
    work_references,
)

T = TypeVar("T")

_INSERT_SET = Change(insert(preview_sets))
_INSERT_FILE = Change(insert(preview_files))
_WAITING = Query(
    select(preview_sets.c.source_sha256, func.count(), func.max(preview_sets.c.source_bytes))
    .where(preview_sets.c.state == PreviewState.PENDING.value)
    .group_by(preview_sets.c.source_sha256)
)
_ERASURES = Query(select(erasures.c.sha256).limit(bindparam("most")))
_AT_ONCE = 500
"""Values in one condition: databases bound their number."""
_ID_BYTES = 16


class Previews:
    """Reads previews, in whatever transaction the connection is in."""

    def __init__(self, connection: Connection) -> None:
        """Read through `connection`."""
        self._connection = connection

    def find(self, subjects: Collection[Subject]) -> dict[Subject, PreviewSet]:
        """What there is to show of each of several subjects; all are in the answer.

        A picture that has no thumbnail, since it is small, is one itself.
        """
        keys = {_key(subject): subject for subject in subjects}
        found: dict[Subject, PreviewSet] = {}
        for some in _groups(keys):
            files: dict[bytes, dict[Kind, PreviewFile]] = {}
            for row in self._connection.execute(
                select(preview_files).where(preview_files.c.subject.in_(some))
            ):
                file = _to_file(row)
                files.setdefault(row.subject, {})[file.kind] = file
            for kinds in files.values():
                if Kind.PICTURE in kinds and Kind.THUMBNAIL not in kinds:
                    kinds[Kind.THUMBNAIL] = replace(kinds[Kind.PICTURE], kind=Kind.THUMBNAIL)
            for row in self._connection.execute(select(preview_sets).where(preview_sets.c.subject.in_(some))):
                found[keys[row.subject]] = PreviewSet(
                    PreviewState(row.state), row.reason, row.modality, files.get(row.subject, {})
                )
        missing = [subject for subject in keys.values() if subject not in found]
        there = self._there(missing)
        for subject in missing:
            found[subject] = PreviewSet(PreviewState.ABSENT if subject in there else PreviewState.DELETED)
        return found

    def _there(self, subjects: Iterable[Subject]) -> set[Subject]:
        """Which of these references and contents exist."""
        ids = [one for one in subjects if isinstance(one, UUID)]
        digests = [one for one in subjects if isinstance(one, bytes)]
        there: set[Subject] = set()
        for some in _groups(ids):
            query = select(work_references.c.id).where(work_references.c.id.in_(some))
            there.update(self._connection.execute(query).scalars())
        for group in _groups(digests):
            for column in (contents.c.sha256, suspect_parts.c.key):
                query = select(column).where(column.in_(group))
                there.update(self._connection.execute(query).scalars())
        return there

    def pending(self, limit: int) -> list[Job]:
        """What is still to be made, the longest waiting first."""
        query = (
            select(preview_sets)
            .where(preview_sets.c.state == PreviewState.PENDING.value)
            .order_by(preview_sets.c.created_at)
            .limit(limit)
        )
        return [
            Job(_subject(row.subject), row.modality, _to_source(row), row.created_at)
            for row in self._connection.execute(query)
        ]

    def waiting(self) -> tuple[int, int]:
        """How many are still to be made, and how many bytes the files have that are kept for that."""
        rows = list(_WAITING.rows(self._connection, {}))
        return sum(count for _, count, _ in rows), sum(byte_count or 0 for _, _, byte_count in rows)

    def erasures(self, limit: int) -> list[bytes]:
        """Digests of files that may not be needed any more."""
        return [sha256 for (sha256,) in _ERASURES.rows(self._connection, {"most": limit})]

    def in_use(self, sha256s: Collection[bytes]) -> set[bytes]:
        """Which of these files some preview consists of, or is still to be made of."""
        used: set[bytes] = set()
        for column in (preview_files.c.sha256, preview_sets.c.source_sha256):
            for some in _groups(sha256s):
                query = select(column).where(column.in_(some)).distinct()
                used.update(self._connection.execute(query).scalars())
        return used


class PreviewWriter(Previews):
    """Notes what previews were made of, and which of their files are to be erased."""

    def add(
        self, work_id: UUID, previews: Sequence[tuple[UUID, str, NewPreview]], now: datetime, *, keep: bool
    ) -> None:
        """Note the previews of references that are being registered.

        Args:
            work_id: Their work.
            previews: Id and modality of each reference, and its preview.
            now: UTC.
            keep: Whether the work's owner wants previews; False: none is kept, whatever was made.
        """
        if not keep:
            previews = [
                (reference_id, modality, NewPreview(PreviewState.NOT_KEPT))
                for reference_id, modality, _ in previews
            ]
        sets, files = [], []
        for reference_id, modality, preview in previews:
            subject = _key(reference_id)
            sets.append(
                {
                    "subject": subject,
                    "work_id": work_id,
                    "state": preview.state.value,
                    "reason": preview.reason,
                    "modality": modality,
                    "created_at": now,
                    **_source_columns(preview.source),
                }
            )
            files += [_file_columns(subject, file) for file in preview.files]
        if sets:
            _INSERT_SET.run(self._connection, sets)
        if files:
            _INSERT_FILE.run(self._connection, files)

    def ask(self, sha256: bytes, modality: str, now: datetime) -> None:
        """Have the preview of a captured content, or of a part of one, made, unless that was asked before.

        Args:
            sha256: The content's digest, or the part's key.
            modality: Such as ``image``.
            now: UTC.
        """
        known = select(preview_sets.c.subject).where(preview_sets.c.subject == sha256)
        if self._connection.execute(known).first():
            return
        self._connection.execute(
            insert(preview_sets),
            {
                "subject": sha256,
                "work_id": None,
                "state": PreviewState.PENDING.value,
                "reason": "",
                "modality": modality,
                "created_at": now,
                **_source_columns(None),
            },
        )

    def finish(self, subject: Subject, made: NewPreview, now: datetime) -> bool:
        """Note what became of a pending preview; the file that was kept for it is erased.

        Returns:
            False if it is not pending any more: what was made for it is not needed.
        """
        key = _key(subject)
        pending = (preview_sets.c.subject == key) & (preview_sets.c.state == PreviewState.PENDING.value)
        row = self._connection.execute(select(preview_sets.c.source_sha256).where(pending)).one_or_none()
        if row is None:
            return False
        self._connection.execute(
            update(preview_sets)
            .where(preview_sets.c.subject == key)
            .values(state=made.state.value, reason=made.reason, **_source_columns(None))
        )
        if made.files:
            self._connection.execute(insert(preview_files), [_file_columns(key, file) for file in made.files])
        if row.source_sha256 is not None:
            self.let_go([row.source_sha256], now)
        return True

    def erase_of_work(self, work_id: UUID, now: datetime, *, keep_rows: bool = False) -> None:
        """Erase the previews of a work's references, with the files.

        Args:
            work_id: Which work.
            now: UTC.
            keep_rows: Whether the references stay, with previews that are not kept.
        """
        execute = self._connection.execute
        mine = preview_sets.c.work_id == work_id
        of_these = preview_files.c.subject.in_(select(preview_sets.c.subject).where(mine))
        gone = set(execute(select(preview_files.c.sha256).where(of_these)).scalars())
        sources = select(preview_sets.c.source_sha256).where(mine, preview_sets.c.source_sha256.is_not(None))
        gone.update(execute(sources).scalars())
        execute(delete(preview_files).where(of_these))
        if keep_rows:
            execute(
                update(preview_sets)
                .where(mine)
                .values(state=PreviewState.NOT_KEPT.value, reason="", **_source_columns(None))
            )
        else:
            execute(delete(preview_sets).where(mine))
        self.let_go(gone, now)

    def let_go(self, sha256s: Collection[bytes], now: datetime) -> None:
        """Have files erased that may not be needed any more."""
        for some in _groups(sha256s):
            query = select(erasures.c.sha256).where(erasures.c.sha256.in_(some))
            known = set(self._connection.execute(query).scalars())
            new = [{"sha256": sha256, "created_at": now} for sha256 in sorted(set(some) - known)]
            if new:
                self._connection.execute(insert(erasures), new)

    def forget_erasures(self, sha256s: Collection[bytes]) -> None:
        """Forget files that were erased, or turned out to be needed."""
        for some in _groups(sha256s):
            self._connection.execute(delete(erasures).where(erasures.c.sha256.in_(some)))


def _groups(values: Iterable[T]) -> Iterable[list[T]]:
    every = list(values)
    return [every[at : at + _AT_ONCE] for at in range(0, len(every), _AT_ONCE)]


def _key(subject: Subject) -> bytes:
    return subject.bytes if isinstance(subject, UUID) else subject


def _subject(key: bytes) -> Subject:
    return UUID(bytes=key) if len(key) == _ID_BYTES else key


def _source_columns(source: Source | None) -> dict[str, Any]:
    if source is None:
        return {"source_sha256": None, "source_bytes": None, "source_place": None}
    return {
        "source_sha256": source.sha256,
        "source_bytes": source.byte_count,
        "source_place": None if source.place is None else json.dumps([*source.place, source.part_bytes]),
    }


def _to_source(row: Row[Any]) -> Source | None:
    if row.source_sha256 is None:
        return None
    if row.source_place is None:
        return Source(row.source_sha256, row.source_bytes)
    *place, part_bytes = json.loads(row.source_place)
    return Source(row.source_sha256, row.source_bytes, tuple(place), part_bytes)


def _file_columns(subject: bytes, file: PreviewFile) -> dict[str, Any]:
    facts = file.facts
    return {
        "subject": subject,
        "kind": file.kind.value,
        "sha256": file.sha256,
        "byte_count": file.byte_count,
        "width": facts.width,
        "height": facts.height,
        "seconds": facts.seconds,
        "characters": facts.characters,
        "whole": int(facts.whole),
    }


def _to_file(row: Row[Any]) -> PreviewFile:
    facts = Facts(row.width, row.height, row.seconds, row.characters, bool(row.whole))
    return PreviewFile(Kind(row.kind), row.sha256, row.byte_count, facts)
