"""What bundles and sheets are put together from: files that the service keeps, read, checked and digested."""

import hashlib
import json
import tempfile
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Final
from uuid import UUID

from copyhound.stored_zip import Member
from service.blobs import Blobs, pieces
from service.errors import NotFoundError
from service.evidence.clips import take
from service.evidence.document import Gathered
from service.evidence.sheet import MAX_STILLS, Extras, Picture, Still
from service.monitored import SHOWN_PARTS, Capture, StoredReport
from service.previewed import Kind, PreviewSet, PreviewState, Subject
from service.previews import PreviewReader
from service.store.monitor_codec import load_parts

LEFT_OUT: Final = {
    "limit": "fewer captures were asked for",
    "room": "the bundle has no room for more files",
    "damaged": "the server's file is missing, or not what was received",
    "pending": "the server has not made it yet",
}
"""Why something is not in a bundle."""
ENDINGS: Final = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "video/webm": "webm",
    "audio/webm": "webm",
}
"""Of files that are kept to show, by their type."""

_PARTS: Final = 4
"""Parts of a container that are shown in a sheet of several reports."""
_PASSAGES: Final = 10
_PASSAGE_CHARACTERS: Final = 600
_MAX_PICTURE: Final = 8 * 1024 * 1024
_SHOWN: Final = {"image": Kind.PICTURE, "video": Kind.THUMBNAIL, "audio": Kind.SPECTROGRAM}
_CHUNK: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Digested:
    """A file of a bundle, with its digest, hexadecimal."""

    member: Member
    sha256: str

    @classmethod
    def of(cls, name: str, content: bytes) -> "Digested":
        """A file whose bytes are in memory."""
        return cls(Member.of(name, content), hashlib.sha256(content).hexdigest())

    @classmethod
    def read(cls, name: str, read: Callable[[], Iterator[bytes]]) -> "Digested":
        """A file that `read` gives, every time anew; it is read once now."""
        digest, crc, size = hashlib.sha256(), 0, 0
        for piece in read():
            digest.update(piece)
            crc, size = zlib.crc32(piece, crc), size + len(piece)
        return cls(Member(name, size, crc, read), digest.hexdigest())


class Spool:
    """Files that were made for a bundle, on disk until it was sent: there may be a thousand."""

    def __init__(self, folder: Path) -> None:
        """Use a folder; nothing is left there when the last file of it was dropped."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  open as long as there are members
        weakref.finalize(self, self._file.close)
        self._lock = Lock()

    def keep(self, name: str, content: bytes) -> Digested:
        """Keep a file."""
        with self._lock:
            start = self._file.seek(0, 2)
            self._file.write(content)
        read = partial(self._pieces, start, len(content))
        return Digested(
            Member(name, len(content), zlib.crc32(content), read), hashlib.sha256(content).hexdigest()
        )

    def _pieces(self, start: int, length: int) -> Iterator[bytes]:
        for at in range(start, start + length, _CHUNK):
            with self._lock:
                self._file.seek(at)
                piece = self._file.read(min(_CHUNK, start + length - at))
            yield piece


class Shelves:
    """Reads captures, and what is kept to show."""

    def __init__(self, blobs: Blobs, previews: PreviewReader) -> None:
        """Read from these."""
        self._blobs = blobs
        self._previews = previews

    # Files of bundles

    def captured(self, gathered: Gathered, *, most: int, room: int) -> tuple[list[Digested], dict[str, str]]:
        """The captures of a report and the suspect, and why some are left out.

        Args:
            gathered: The report.
            most: Captures that were asked for, the first ones; 0: all.
            room: Captures that fit.
        """
        parts: list[Digested] = []
        left_out: dict[str, str] = {}
        suspect_name = f"suspect/{gathered.report.sha256.hex()}.bin"
        suspect: Digested | None = None
        for number, (capture, _) in enumerate(gathered.captures):
            name = f"captures/{capture.new.id}.warc"
            if number >= (most or number + 1):
                left_out[name] = LEFT_OUT["limit"]
                continue
            if number >= room:
                left_out[name] = LEFT_OUT["room"]
                continue
            whole = self._digested(name, capture, ((0, capture.new.byte_count),), capture.new.sha256)
            if whole is None:
                left_out[name] = LEFT_OUT["damaged"]
                continue
            parts.append(whole)
            if suspect is None:
                suspect = self._digested(suspect_name, capture, capture.new.ranges, gathered.report.sha256)
        if suspect is None:
            left_out[suspect_name] = LEFT_OUT["damaged"]
            return parts, left_out
        return [*parts, suspect], left_out

    def _digested(
        self, name: str, capture: Capture, ranges: tuple[tuple[int, int], ...], expected: bytes
    ) -> Digested | None:
        """Ranges of a capture's file; None if they are not what they have to be."""
        try:
            found = Digested.read(name, partial(self._read, capture.new.sha256, ranges))
        except (NotFoundError, OSError):
            return None
        return found if found.sha256 == expected.hex() else None

    def _read(self, sha256: bytes, ranges: tuple[tuple[int, int], ...]) -> Iterator[bytes]:
        with self._blobs.open(sha256) as file:
            yield from pieces(file, ranges)

    def shown(
        self, subjects: Mapping[str, Subject], *, room: int | None = None
    ) -> tuple[list[Digested], dict[str, str]]:
        """What is kept to show of some references or of parts of suspects, and why some of it is left out.

        Args:
            subjects: What, by the folder that it is put into.
            room: Files that fit; None: all.
        """
        parts: list[Digested] = []
        left_out: dict[str, str] = {}
        found = self._previews.find_all(subjects.values())
        for folder, subject in subjects.items():
            if found[subject].state is PreviewState.PENDING:
                left_out[folder] = LEFT_OUT["pending"]
            for kind, file in sorted(found[subject].files.items()):
                if kind in (Kind.WAVEFORM, Kind.THUMBNAIL, Kind.SPECTROGRAM):
                    continue
                if room is not None and len(parts) >= room:
                    left_out[folder] = LEFT_OUT["room"]
                    break
                name = f"{folder}/{kind.value}.{ENDINGS.get(file.media_type, 'txt')}"
                parts.append(Digested.read(name, partial(self._preview, subject, kind)))
        return parts, left_out

    def _preview(self, subject: Subject, kind: Kind) -> Iterator[bytes]:
        with self._previews.open(subject, kind) as preview:
            yield from preview.pieces()

    # What sheets show

    def extras(
        self,
        gathered: Gathered,
        values: Mapping[str, Any],
        *,
        with_reference: bool,
        listed: tuple[tuple[str, int, str], ...] = (),
        key: str = "",
        number: int = 0,
    ) -> Extras:
        """What is shown beside a report's document.

        Args:
            gathered: The report.
            values: Its document.
            with_reference: Whether what is kept of the work is shown, too.
            listed: The files of the bundle.
            key: Id of the key that signs it.
            number: Of the report in a sheet of several.
        """
        report = gathered.report
        whole: tuple[Subject, Subject] = (report.sha256, UUID(report.match["reference"]))
        parts = load_parts(report.match)[: _PARTS if number else SHOWN_PARTS]
        pairs: list[tuple[Subject, Subject]] = [(part.key, part.reference) for part in parts]
        found = self._previews.find_all({side for pair in (whole, *pairs) for side in pair})
        tag = str(number or "")
        beside = partial(self._beside, found=found, with_reference=with_reference)
        of_parts = [
            beside(told, part.modality, pair, f"{tag}-{place}")
            for place, (told, part, pair) in enumerate(
                zip(values["match"]["parts"], parts, pairs, strict=False), 1
            )
        ]
        return replace(
            beside(values["match"], report.modality, whole, tag),
            files=listed,
            key=key,
            pending=any(found[mine].state is PreviewState.PENDING for mine, _ in pairs or [whole]),
            parts=tuple(of_parts),
        )

    def _beside(
        self,
        match: Mapping[str, Any],
        modality: str,
        pair: tuple[Subject, Subject],
        tag: str,
        *,
        found: Mapping[Subject, PreviewSet],
        with_reference: bool,
    ) -> Extras:
        """What is shown of a suspect and a reference, or of a part and what it is a copy of.

        Args:
            match: As the document has it.
            modality: Kind of media.
            pair: The suspect's side, and the work's.
            tag: For the names of files.
            found: What is kept to show of both.
            with_reference: As `extras`.
        """
        mine, theirs = pair
        sides = [(mine, False), (theirs, True)] if with_reference else [(mine, False)]
        pictures = [self._picture(one, found[one], modality, tag, of_work=of_work) for one, of_work in sides]
        filmed = Kind.CLIP in found[mine].files
        return Extras(
            pictures=tuple(one for one in pictures if one is not None),
            stills=self._stills(match["segments"], sides, found, tag) if filmed else (),
            passages=self._passages(match["segments"], mine, theirs if with_reference else None)
            if modality == "text"
            else (),
            lengths=(_length(found[mine]), _length(found[theirs])),
        )

    def _stills(
        self,
        segments: Sequence[Mapping[str, Any]],
        sides: Sequence[tuple[Subject, bool]],
        found: Mapping[Subject, PreviewSet],
        tag: str,
    ) -> tuple[Still, ...]:
        """What both films show in the middle of each of the first segments."""
        segments = segments[:MAX_STILLS]
        stills: list[Still] = []
        for subject, of_work in sides:
            file = found[subject].files.get(Kind.CLIP)
            if file is None or not segments:
                continue
            side = "work" if of_work else "query"
            times = [sum(one[side]) / 2 for one in segments]
            try:
                with self._previews.open(subject, Kind.CLIP) as clip:
                    pictures = take(clip, times)
            except NotFoundError:  # deleted since
                continue
            facts = file.facts
            for place, (at, content) in enumerate(zip(times, pictures, strict=True)):
                if content:
                    name = f"{side}{tag}-at-{place + 1}.jpg"
                    picture = Picture(
                        name, "image/jpeg", content, facts.width, facts.height, of_work, not of_work
                    )
                    stills.append(Still(place, at, picture))
        return tuple(stills)

    def _picture(
        self, subject: Subject, found: PreviewSet, modality: str, tag: str, *, of_work: bool
    ) -> Picture | None:
        kind = _SHOWN.get(modality)
        file = None if kind is None else found.files.get(kind)
        if kind is None or file is None or file.media_type not in ENDINGS:
            return None
        facts = file.facts
        if not (facts.width and facts.height) or file.byte_count > _MAX_PICTURE:
            return None
        name = f"{'work' if of_work else 'suspect'}{tag}.{ENDINGS[file.media_type]}"
        try:
            content = b"".join(self._preview(subject, kind))
        except NotFoundError:  # deleted since
            return None
        outlined = kind is Kind.PICTURE
        return Picture(name, file.media_type, content, facts.width, facts.height, of_work, outlined)

    def _passages(
        self, segments: Sequence[Mapping[str, Any]], suspect: Subject, reference: Subject | None
    ) -> tuple[tuple[str, str], ...]:
        told = []
        for segment in segments[:_PASSAGES]:
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


def shown_of_suspect(report: StoredReport) -> dict[str, Subject]:
    """Parts of a container, the most telling, by the folders of a bundle that they are shown in."""
    parts = load_parts(report.match)[:SHOWN_PARTS]
    folder = f"suspect/{report.sha256.hex()}.parts"
    return {f"{folder}/{number:02}": part.key for number, part in enumerate(parts, 1)}


def shown_of_work(report: StoredReport) -> dict[str, UUID]:
    """The reference that matched, and of a container what its parts are copies of, by folders of a bundle."""
    parts = load_parts(report.match)[:SHOWN_PARTS]
    numbered = {f"reference/parts/{number:02}": part.reference for number, part in enumerate(parts, 1)}
    return {"reference": UUID(report.match["reference"]), **numbered}


def as_json(value: object) -> bytes:
    """A file of JSON."""
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def _length(found: PreviewSet) -> float:
    facts = (file.facts for file in found.files.values())
    return max((one.seconds or float(one.characters) for one in facts), default=0.0)
