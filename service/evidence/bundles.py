"""Bundles of evidence: put together from what the service keeps, checked, signed, streamed.

`copyhound.bundle` says what a bundle holds, and checks it. Every file is read once before anything is sent:
then digests, signature and size are known, and a capture that is not any more what was received is left out,
and named. The files are read again as they are sent. None of them is ever in memory as a whole.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from copyhound import stored_zip
from copyhound.bundle import ABOUT, CASE, DECISIONS, FORMAT, REFERENCE, REPORT, SIGNATURE, STAMP, SUMS
from copyhound.stored_zip import Member
from service.blobs import Blobs
from service.catalogue import Catalogue
from service.evidence import page as pages
from service.evidence import pdf as typeset
from service.evidence.document import (
    Gathered,
    build,
    build_case,
    describe_captures,
    gather,
    gather_case,
    report_row,
    visible,
)
from service.evidence.parts import (
    LEFT_OUT,
    Digested,
    Shelves,
    Spool,
    as_json,
    shown_of_suspect,
    shown_of_work,
)
from service.evidence.sheet import COMMANDS, MAX_REPORTS, Extras, lay_out, lay_out_case
from service.evidence.signing import Signer
from service.evidence.stamping import StampAuthority
from service.language import DEFAULT_LANGUAGE, words
from service.previewed import Subject
from service.previews import PreviewReader
from service.review import Desk
from service.reviewed import Actor
from service.store import Transaction

EXPORTED: Final = "EXPORTED"
"""What custody says of a capture whose evidence was handed over."""
MAX_CASE_REPORTS: Final = 1000
"""Most reports of a case that are handed over at once, the first ones."""
MAX_CASE_CAPTURES: Final = 3000
"""Most captures in the bundle of a case: an archive has at most `stored_zip.MAX_FILES` files."""
MAX_CASE_SHOWN: Final = 3000
"""Most files in the bundle of a case that show works and parts of containers."""

_COPY_BYTES: Final = 256 * 1024
_HOW: Final = files("service.evidence").joinpath("verify.txt").read_text(encoding="utf-8")


class Scope(StrEnum):
    """What is handed over, by the first part of its name."""

    REPORT = "reports"
    CASE = "cases"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to be handed over.

    Attributes:
        id: Of the report, or of the case.
        language: Of its sentences, one of `service.language.LANGUAGES`.
        with_reference: Whether to show what is kept of the work, too; in a bundle, whether to put it in: a
            reduced picture, clip or sound, or its text. The registered file itself is not kept.
        max_captures: Most captures of each report to put into a bundle, the first ones; 0: all. The others
            are named with their digests.
    """

    scope: Scope
    id: UUID
    language: str = DEFAULT_LANGUAGE
    with_reference: bool = False
    max_captures: int = 0

    @property
    def name(self) -> str:
        """Of the report or case."""
        return f"{self.scope}/{self.id}"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that is ready to be sent.

    Attributes:
        filename: A name for it.
        byte_count: Its size.
        key_id: The key that signed it.
        stamped: Whether it has a time stamp.
        left_out: Why captures, suspects or reports are not in it, by the name of the file.
        members: Its files.
    """

    filename: str
    byte_count: int
    key_id: str
    stamped: bool
    left_out: Mapping[str, str]
    members: tuple[Member, ...] = field(repr=False)

    def pieces(self) -> Iterator[bytes]:
        """Yield its bytes, at most 256 KiB at a time. Blocks.

        Raises:
            copyhound.stored_zip.ArchiveError: If a file changed since it was read: the bundle is cut off
                then, and does not verify.
        """
        for piece in stored_zip.write(self.members):
            for start in range(0, len(piece), _COPY_BYTES):
                yield piece[start : start + _COPY_BYTES]


class Bundler:
    """Makes documents of reports and cases, and bundles."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        desk: Desk,
        blobs: Blobs,
        previews: PreviewReader,
        signer: Signer,
        authority: StampAuthority | None,
        scratch: Path,
    ) -> None:
        """Take the parts; `authority` None: no time stamps. `scratch` is a folder for moments."""
        self._catalogue = catalogue
        self._desk = desk
        self._blobs = blobs
        self._shelves = Shelves(blobs, previews)
        self._signer = signer
        self._authority = authority
        self._scratch = scratch

    @property
    def signer(self) -> Signer:
        """The key."""
        return self._signer

    def document(self, actor: Actor, wish: Wish) -> dict[str, Any]:
        """A report or case as JSON values; docs/guides/evidence.md describes them. Blocks.

        Raises:
            NotFoundError: If there is none, or none that the actor may see.
        """
        if wish.scope is Scope.REPORT:
            return self._document(self._gather(actor, wish.id), wish.language)
        return self._case(actor, wish, None).values

    def page(self, actor: Actor, wish: Wish) -> str:
        """The same as a page to be printed, HTML; serve it with `CONTENT_SECURITY_POLICY`. Blocks.

        Raises:
            NotFoundError: As `document`.
        """
        sheet, extras = self._sheet(actor, wish)
        return pages.render(sheet, [picture for one in extras for picture in one.every_picture])

    def pdf(self, actor: Actor, wish: Wish) -> bytes:
        """The same as a PDF. Blocks, for a second or so.

        Raises:
            NotFoundError: As `document`.
            BusyError: If setting it took too long.
            TypesettingError: If it failed otherwise.
        """
        return self._pdf(*self._sheet(actor, wish))

    async def export(self, actor: Actor, wish: Wish) -> Bundle:
        """Make a bundle, and note in the custody of its captures that it was handed over.

        Raises:
            NotFoundError: As `document`.
            BusyError: As `pdf`.
            TypesettingError: As `pdf`.
        """
        await self._catalogue.write(partial(self._note, actor, wish))
        make = self._make if wish.scope is Scope.REPORT else self._make_case
        return await asyncio.to_thread(make, actor, wish)

    def _note(self, actor: Actor, wish: Wish, transaction: Transaction) -> None:
        now, ids = datetime.now(UTC), [wish.id]
        if wish.scope is Scope.CASE:
            rows = transaction.cases.reports(wish.id, after=0, limit=MAX_CASE_REPORTS)
            ids = [row.report_id for row in rows]
        detail = {wish.scope.removesuffix("s"): wish.name}
        for report_id in ids:
            report = visible(transaction.reports, actor, report_id)
            for capture_id in {one.capture_id for one in report.sightings if one.capture_id}:
                if transaction.captures.get(capture_id).new.owner == report.owner:
                    transaction.captures.add_event(capture_id, actor.id, EXPORTED, detail, now)

    def _gather(self, actor: Actor, report_id: UUID) -> Gathered:
        return gather(self._catalogue.store, self._desk, actor, report_id)

    def _document(self, gathered: Gathered, language: str) -> dict[str, Any]:
        described = describe_captures(gathered, self._blobs)
        return build(gathered, described, words(language, "report"), datetime.now(UTC))

    # Sheets

    def _sheet(self, actor: Actor, wish: Wish) -> tuple[dict[str, Any], list[Extras]]:
        """What is shown, and what beside it."""
        if wish.scope is Scope.REPORT:
            gathered = self._gather(actor, wish.id)
            values = self._document(gathered, wish.language)
            extras = self._shelves.extras(gathered, values, with_reference=wish.with_reference)
            return self._laid_out(values, extras), [extras]
        told = self._case(actor, wish, None)
        return self._laid_out_case(told, Extras()), [extras for _, extras in told.shown]

    def _laid_out(self, values: Mapping[str, Any], extras: Extras) -> dict[str, Any]:
        sheet = lay_out(values, words(values["language"], "report"), extras)
        return {**sheet, "date": values["created_at"]}

    def _laid_out_case(self, told: "_Told", extras: Extras) -> dict[str, Any]:
        sheet = lay_out_case(told.values, told.shown, words(told.values["language"], "report"), extras)
        return {**sheet, "date": told.values["created_at"]}

    def _pdf(self, sheet: Mapping[str, Any], extras: Sequence[Extras]) -> bytes:
        return typeset.render(
            sheet, [picture for one in extras for picture in one.every_picture], self._scratch
        )

    # Bundles

    def _make(self, actor: Actor, wish: Wish) -> Bundle:
        gathered = self._gather(actor, wish.id)
        values = self._document(gathered, wish.language)
        parts, left_out = self._shelves.captured(
            gathered, most=wish.max_captures, room=len(gathered.captures)
        )
        folders = shown_of_suspect(gathered.report)
        if wish.with_reference:
            folders |= shown_of_work(gathered.report)
        shown, pending = self._shelves.shown(folders)
        parts += shown
        left_out |= pending
        texts = {
            REPORT: values,
            REFERENCE: values["reference"],
            DECISIONS: {"cases": values["cases"]},
            ABOUT: self._about(actor, wish, values, left_out, {"report": values["report"]["name"]}),
        }
        parts = [Digested.of(name, as_json(value)) for name, value in texts.items()] + parts
        parts += [
            Digested.of(f"{one['name']}.custody.json", as_json(_custody(one))) for one in values["captures"]
        ]
        parts.append(_how())
        extras = self._shelves.extras(
            gathered,
            values,
            with_reference=wish.with_reference,
            listed=_listed(parts),
            key=self._signer.key_id,
        )
        parts.insert(0, Digested.of("report.pdf", self._pdf(self._laid_out(values, extras), [extras])))
        return self._sealed(wish, parts, left_out)

    def _make_case(self, actor: Actor, wish: Wish) -> Bundle:
        parts: list[Digested] = []
        told = self._case(actor, wish, parts)
        about = self._about(actor, wish, told.values, told.left_out, {"case": told.values["case"]["name"]})
        texts = {CASE: told.values, ABOUT: about}
        parts = [Digested.of(name, as_json(value)) for name, value in texts.items()] + parts
        parts.append(_how())
        extras = Extras(files=_listed(parts), key=self._signer.key_id)
        shown = [extras for _, extras in told.shown]
        parts.insert(0, Digested.of("case.pdf", self._pdf(self._laid_out_case(told, extras), shown)))
        return self._sealed(wish, parts, told.left_out)

    def _case(self, actor: Actor, wish: Wish, parts: list[Digested] | None) -> "_Told":
        """A case with its reports, one after the other; their files are added to `parts`."""
        store, desk, said = self._catalogue.store, self._desk, words(wish.language, "report")
        gathered = gather_case(store, desk, actor, wish.id, most=MAX_CASE_REPORTS)
        spool = None if parts is None else Spool(self._scratch)
        rows: list[dict[str, Any]] = []
        shown: list[tuple[dict[str, Any], Extras]] = []
        left_out: dict[str, str] = {}
        references: set[UUID] = set()
        folders: dict[str, Subject] = {}
        captures = 0
        for number, row in enumerate(gathered.reports, 1):
            one = gather(store, desk, actor, row.report_id, with_cases=False)
            values = self._document(one, wish.language)
            del values["cases"]  # told once, by the case
            rows.append(report_row(row, values))
            if number <= MAX_REPORTS:
                extras = self._shelves.extras(one, values, with_reference=wish.with_reference, number=number)
                shown.append((values, extras))
            if parts is None or spool is None:
                continue
            parts.append(spool.keep(f"reports/{row.report_id}.json", as_json(values)))
            found, missing = self._shelves.captured(
                one, most=wish.max_captures, room=MAX_CASE_CAPTURES - captures
            )
            parts += found
            left_out |= missing
            captures += sum(file.member.name.startswith("captures/") for file in found)
            reference = UUID(one.report.match["reference"])
            if reference not in references:
                references.add(reference)
                parts.append(spool.keep(f"references/{reference}.json", as_json(values["reference"])))
            folders |= shown_of_suspect(one.report)
            if wish.with_reference:
                folders |= {f"references/{id_}": id_ for id_ in shown_of_work(one.report).values()}
        if parts is not None:
            found, missing = self._shelves.shown(folders, room=MAX_CASE_SHOWN)
            parts += found
            left_out |= missing
        if gathered.case.report_count > len(rows):
            left_out["reports"] = LEFT_OUT["room"]
        return _Told(build_case(gathered, rows, said, datetime.now(UTC)), shown, left_out)

    def _about(
        self,
        actor: Actor,
        wish: Wish,
        values: Mapping[str, Any],
        left_out: Mapping[str, str],
        subject: Mapping[str, str],
    ) -> dict[str, Any]:
        """Who made a bundle, and when."""
        return {
            "format": FORMAT,
            **subject,
            "created_at": values["created_at"],
            "created_by": actor.id,
            "software": {"copyhound": version("copyhound")},
            "language": wish.language,
            "public_key": self._signer.public_key,
            "key_id": self._signer.key_id,
            "left_out": left_out,
        }

    def _sealed(self, wish: Wish, parts: Sequence[Digested], left_out: Mapping[str, str]) -> Bundle:
        """A bundle of these files, with the digests of all, signed and stamped."""
        sums = "".join(f"{one.sha256}  {one.member.name}\n" for one in parts).encode("ascii")
        ends = [Member.of(SUMS, sums), Member.of(SIGNATURE, self._signer.sign(sums))]
        token = None if self._authority is None else self._authority.stamp(sums)
        if token is not None:
            ends.append(Member.of(STAMP, token))
        members = (*(one.member for one in parts), *ends)
        return Bundle(
            filename=f"copyhound-{'case-' if wish.scope is Scope.CASE else ''}{wish.id}.zip",
            byte_count=stored_zip.size_of(members),
            key_id=self._signer.key_id,
            stamped=token is not None,
            left_out=left_out,
            members=members,
        )


@dataclass(frozen=True, slots=True)
class _Told:
    """A case as it is told.

    Attributes:
        values: Its document.
        shown: The documents of the first reports, and what is shown beside them.
        left_out: As of `Bundle`.
    """

    values: dict[str, Any]
    shown: list[tuple[dict[str, Any], Extras]]
    left_out: dict[str, str]


def _custody(capture: Mapping[str, Any]) -> dict[str, Any]:
    return {"capture": capture["name"], "events": capture["custody"]}


def _how() -> Digested:
    return Digested.of("VERIFY.txt", _HOW.format(*COMMANDS).encode())


def _listed(parts: Sequence[Digested]) -> tuple[tuple[str, int, str], ...]:
    return tuple((one.member.name, one.member.size, one.sha256) for one in parts)
