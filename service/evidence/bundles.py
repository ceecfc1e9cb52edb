"""Bundles of evidence: put together from what the service keeps, checked, signed, streamed.

`copyhound.bundle` says what a bundle holds, and checks it. Every file is read once before anything is sent:
then digests, signature and size are known, and a capture that is not any more what was received is left out,
and named. The files are read again as they are sent. None of them is ever in memory as a whole.
"""

import asyncio
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from copyhound import stored_zip
from copyhound.bundle import ABOUT, DECISIONS, FORMAT, REFERENCE, REPORT, SIGNATURE, STAMP, SUMS
from copyhound.stored_zip import Member
from service.blobs import Blobs, pieces
from service.catalogue import Catalogue
from service.errors import NotFoundError
from service.evidence import page as pages
from service.evidence import pdf as typeset
from service.evidence.document import Gathered, build, describe_captures, gather, visible
from service.evidence.sheet import COMMANDS, Extras, Picture, lay_out
from service.evidence.signing import Signer
from service.evidence.stamping import StampAuthority
from service.language import DEFAULT_LANGUAGE, words
from service.monitored import Capture
from service.previewed import Kind, PreviewSet, PreviewState, Subject
from service.previews import PreviewReader
from service.review import Desk
from service.reviewed import Actor
from service.store import Transaction
from service.store.monitor_codec import load_parts

EXPORTED: Final = "EXPORTED"
"""What custody says of a capture whose evidence was handed over."""

_PARTS: Final = 4
"""Parts of a container of which pictures are shown."""
_PASSAGES: Final = 10
_PASSAGE_CHARACTERS: Final = 600
_MAX_PICTURE: Final = 8 * 1024 * 1024
_COPY_BYTES: Final = 256 * 1024
_ENDINGS: Final = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "video/webm": "webm",
    "audio/webm": "webm",
}
_SHOWN: Final = {"image": Kind.PICTURE, "video": Kind.THUMBNAIL, "audio": Kind.SPECTROGRAM}
_LEFT_OUT: Final = {
    "limit": "fewer captures were asked for",
    "damaged": "the server's file is missing, or not what was received",
}
_HOW: Final = files("service.evidence").joinpath("verify.txt").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants a bundle to be.

    Attributes:
        language: Of its sentences, one of `service.language.LANGUAGES`.
        with_reference: Whether to put in what is kept to show of the work: a reduced picture, clip or sound,
            or its text. The registered file itself is not kept.
        max_captures: Most captures to put in, the first ones; 0: all. The others are named with their
            digests.
    """

    report_id: UUID
    language: str = DEFAULT_LANGUAGE
    with_reference: bool = False
    max_captures: int = 0


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that is ready to be sent.

    Attributes:
        filename: A name for it.
        byte_count: Its size.
        key_id: The key that signed it.
        stamped: Whether it has a time stamp.
        left_out: Why captures, or the suspect, are not in it, by the name of the file.
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


@dataclass(frozen=True, slots=True)
class _Digested:
    """A file of a bundle, with its digest, hexadecimal."""

    member: Member
    sha256: str

    @classmethod
    def of(cls, name: str, content: bytes) -> "_Digested":
        return cls(Member.of(name, content), hashlib.sha256(content).hexdigest())


class Bundler:
    """Makes documents of reports, and bundles."""

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
        self._previews = previews
        self._signer = signer
        self._authority = authority
        self._scratch = scratch

    @property
    def signer(self) -> Signer:
        """The key."""
        return self._signer

    def document(self, actor: Actor, report_id: UUID, language: str) -> dict[str, Any]:
        """A report as JSON values; docs/guides/evidence.md describes them. Blocks.

        Raises:
            NotFoundError: If there is no such report, or none that the actor may see.
        """
        return self._document(self._gather(actor, report_id), language)

    def page(self, actor: Actor, report_id: UUID, language: str, *, with_reference: bool = False) -> str:
        """A report as a page to be printed, HTML; serve it with `CONTENT_SECURITY_POLICY`. Blocks.

        Args:
            actor: Who looks.
            report_id: Which report.
            language: One of `service.language.LANGUAGES`.
            with_reference: Whether to show what is kept of the work, too.

        Raises:
            NotFoundError: As `document`.
        """
        gathered = self._gather(actor, report_id)
        values = self._document(gathered, language)
        extras = self._extras(gathered, values, with_reference=with_reference)
        return pages.render(lay_out(values, words(language, "report"), extras), extras.pictures)

    def pdf(self, actor: Actor, report_id: UUID, language: str, *, with_reference: bool = False) -> bytes:
        """A report as a PDF. Blocks, for a second or so.

        Raises:
            NotFoundError: As `document`.
            BusyError: If setting it took too long.
            TypesettingError: If it failed otherwise.
        """
        gathered = self._gather(actor, report_id)
        values = self._document(gathered, language)
        return self._pdf(values, self._extras(gathered, values, with_reference=with_reference))

    async def export(self, actor: Actor, wish: Wish) -> Bundle:
        """Make a bundle, and note in the custody of its captures that it was handed over.

        Raises:
            NotFoundError: As `document`.
            BusyError: As `pdf`.
            TypesettingError: As `pdf`.
        """
        await self._catalogue.write(partial(self._note, actor, wish.report_id))
        return await asyncio.to_thread(self._make, actor, wish)

    @staticmethod
    def _note(actor: Actor, report_id: UUID, transaction: Transaction) -> None:
        now = datetime.now(UTC)
        report = visible(transaction.reports, actor, report_id)
        for capture_id in {one.capture_id for one in report.sightings if one.capture_id}:
            if transaction.captures.get(capture_id).new.owner == report.owner:
                transaction.captures.add_event(
                    capture_id, actor.id, EXPORTED, {"report": f"reports/{report_id}"}, now
                )

    def _gather(self, actor: Actor, report_id: UUID) -> Gathered:
        return gather(self._catalogue.store, self._desk, actor, report_id)

    def _document(self, gathered: Gathered, language: str) -> dict[str, Any]:
        described = describe_captures(gathered, self._blobs)
        return build(gathered, described, words(language, "report"), datetime.now(UTC))

    def _make(self, actor: Actor, wish: Wish) -> Bundle:
        gathered = self._gather(actor, wish.report_id)
        values = self._document(gathered, wish.language)
        parts, left_out = self._captured(gathered, wish)
        if wish.with_reference:
            parts += self._reference_files(UUID(gathered.report.match["reference"]))
        cases = {"cases": values["cases"]}
        about = {
            "format": FORMAT,
            "report": values["report"]["name"],
            "created_at": values["created_at"],
            "created_by": actor.id,
            "software": {"copyhound": version("copyhound")},
            "language": wish.language,
            "public_key": self._signer.public_key,
            "key_id": self._signer.key_id,
            "left_out": left_out,
        }
        texts = {REPORT: values, REFERENCE: values["reference"], DECISIONS: cases, ABOUT: about}
        parts = [_Digested.of(name, _json(value)) for name, value in texts.items()] + parts
        for one in values["captures"]:
            name = f"{one['name']}.custody.json"
            parts.append(_Digested.of(name, _json({"capture": one["name"], "events": one["custody"]})))
        parts.append(_Digested.of("VERIFY.txt", _HOW.format(*COMMANDS).encode()))
        listed = tuple((one.member.name, one.member.size, one.sha256) for one in parts)
        extras = self._extras(gathered, values, with_reference=wish.with_reference, listed=listed)
        parts.insert(0, _Digested.of("report.pdf", self._pdf(values, extras)))
        sums = "".join(f"{one.sha256}  {one.member.name}\n" for one in parts).encode("ascii")
        ends = [Member.of(SUMS, sums), Member.of(SIGNATURE, self._signer.sign(sums))]
        token = None if self._authority is None else self._authority.stamp(sums)
        if token is not None:
            ends.append(Member.of(STAMP, token))
        members = (*(one.member for one in parts), *ends)
        return Bundle(
            filename=f"copyhound-{wish.report_id}.zip",
            byte_count=stored_zip.size_of(members),
            key_id=self._signer.key_id,
            stamped=token is not None,
            left_out=left_out,
            members=members,
        )

    # Parts

    def _captured(self, gathered: Gathered, wish: Wish) -> tuple[list[_Digested], dict[str, str]]:
        """The captures and the suspect, and why some are left out."""
        parts: list[_Digested] = []
        left_out: dict[str, str] = {}
        suspect_name = f"suspect/{gathered.report.sha256.hex()}.bin"
        suspect: _Digested | None = None
        for number, (capture, _) in enumerate(gathered.captures):
            name = f"captures/{capture.new.id}.warc"
            if wish.max_captures and number >= wish.max_captures:
                left_out[name] = _LEFT_OUT["limit"]
                continue
            whole = self._digested(name, capture, ((0, capture.new.byte_count),), capture.new.sha256)
            if whole is None:
                left_out[name] = _LEFT_OUT["damaged"]
                continue
            parts.append(whole)
            if suspect is None:
                suspect = self._digested(suspect_name, capture, capture.new.ranges, gathered.report.sha256)
        if suspect is None:
            left_out[suspect_name] = _LEFT_OUT["damaged"]
            return parts, left_out
        return [*parts, suspect], left_out

    def _digested(
        self, name: str, capture: Capture, ranges: tuple[tuple[int, int], ...], expected: bytes
    ) -> _Digested | None:
        """Ranges of a capture's file; None if they are not what they have to be."""
        digest, crc, size = hashlib.sha256(), 0, 0
        try:
            for piece in self._read(capture.new.sha256, ranges):
                digest.update(piece)
                crc, size = zlib.crc32(piece, crc), size + len(piece)
        except (NotFoundError, OSError):
            return None
        if digest.digest() != expected:
            return None
        read = partial(self._read, capture.new.sha256, ranges)
        return _Digested(Member(name, size, crc, read), expected.hex())

    def _read(self, sha256: bytes, ranges: tuple[tuple[int, int], ...]) -> Iterator[bytes]:
        with self._blobs.open(sha256) as file:
            yield from pieces(file, ranges)

    def _reference_files(self, reference_id: UUID) -> list[_Digested]:
        """What is kept to show of the work."""
        parts = []
        found = self._previews.find(reference_id)
        for kind, file in sorted(found.files.items()):
            if kind in (Kind.WAVEFORM, Kind.THUMBNAIL, Kind.SPECTROGRAM):
                continue
            name = f"reference/{kind.value}.{_ENDINGS.get(file.media_type, 'txt')}"
            read: Callable[[], Iterator[bytes]] = partial(self._preview, reference_id, kind)
            digest, crc, size = hashlib.sha256(), 0, 0
            for piece in read():
                digest.update(piece)
                crc, size = zlib.crc32(piece, crc), size + len(piece)
            parts.append(_Digested(Member(name, size, crc, read), digest.hexdigest()))
        return parts

    def _preview(self, subject: Subject, kind: Kind) -> Iterator[bytes]:
        with self._previews.open(subject, kind) as preview:
            yield from preview.pieces()

    # What is shown beside the document

    def _extras(
        self,
        gathered: Gathered,
        values: Mapping[str, Any],
        *,
        with_reference: bool,
        listed: tuple[tuple[str, int, str], ...] = (),
    ) -> Extras:
        suspect: Subject = gathered.report.sha256
        reference: Subject = UUID(gathered.report.match["reference"])
        parts = load_parts(gathered.report.match)[:_PARTS]
        pairs: list[tuple[Subject, Subject, str, int | None]] = [
            (part.key, part.reference, part.modality, number) for number, part in enumerate(parts)
        ] or [(suspect, reference, gathered.report.modality, None)]
        found = self._previews.find_all(
            {suspect, reference, *(one for mine, theirs, *_ in pairs for one in (mine, theirs))}
        )
        pictures = []
        for mine, theirs, modality, part in pairs:
            pictures.append(self._picture(mine, found[mine], modality, of_work=False, part=part))
            if with_reference:
                pictures.append(self._picture(theirs, found[theirs], modality, of_work=True, part=part))
        return Extras(
            pictures=tuple(picture for picture in pictures if picture is not None),
            passages=self._passages(values, suspect, reference if with_reference else None),
            lengths=(_length(found[suspect]), _length(found[reference])),
            files=listed,
            key=self._signer.key_id if listed else "",
            pending=any(found[mine].state is PreviewState.PENDING for mine, *_ in pairs),
        )

    def _picture(
        self, subject: Subject, found: PreviewSet, modality: str, *, of_work: bool, part: int | None
    ) -> Picture | None:
        kind = _SHOWN.get(modality)
        file = None if kind is None else found.files.get(kind)
        if kind is None or file is None or file.media_type not in _ENDINGS:
            return None
        facts = file.facts
        if not (facts.width and facts.height) or file.byte_count > _MAX_PICTURE:
            return None
        side, number = "work" if of_work else "suspect", "" if part is None else f"-{part + 1}"
        name = f"{side}{number}.{_ENDINGS[file.media_type]}"
        try:
            content = b"".join(self._preview(subject, kind))
        except NotFoundError:  # deleted since
            return None
        outlined = kind is Kind.PICTURE
        return Picture(name, file.media_type, content, facts.width, facts.height, of_work, outlined, part)

    def _passages(
        self, values: Mapping[str, Any], suspect: Subject, reference: Subject | None
    ) -> tuple[tuple[str, str], ...]:
        if values["content"]["modality"] != "text":
            return ()
        told = []
        for segment in values["match"]["segments"][:_PASSAGES]:
            mine = self._passage(suspect, segment["query"])
            theirs = "–" if reference is None else self._passage(reference, segment["work"])
            told.append((mine, theirs))
        return tuple(told)

    def _passage(self, subject: Subject, bounds: list[float]) -> str:
        start, end = int(bounds[0]), int(bounds[1])
        try:
            text = self._previews.text(subject, start, min(end, start + _PASSAGE_CHARACTERS))
        except NotFoundError:
            return "–"
        return text + " …" if end - start > _PASSAGE_CHARACTERS else text

    def _pdf(self, values: Mapping[str, Any], extras: Extras) -> bytes:
        sheet = lay_out(values, words(values["language"], "report"), extras)
        return typeset.render({**sheet, "date": values["created_at"]}, extras.pictures, self._scratch)


def _length(found: PreviewSet) -> float:
    facts = (file.facts for file in found.files.values())
    return max((one.seconds or float(one.characters) for one in facts), default=0.0)


def _json(value: object) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
