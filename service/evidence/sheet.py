"""A report laid out for people: headings, sentences, tables, drawings, as plain values.

The printable page and the PDF show the same sheet; neither has words of its own. Texts of strangers (titles,
file names, addresses, notes) are strings here, with everything that has no shape of its own made visible.
Blocks are told apart by ``kind``:

- ``heading`` (``level`` 2 or 3, ``text``), ``lead``, ``text``, ``note`` (``text``), ``code`` (``lines``);
- ``facts``: ``rows`` of ``label``, ``value``, ``style`` (empty or ``code``, which may be broken anywhere);
- ``table``: ``columns`` of ``label``, ``width`` (share), ``style``, and ``rows`` of texts;
- ``measures``: ``rows`` of ``label``, ``value``, ``sentence``, ``telling``;
- ``pictures``: ``items`` of ``file``, ``width``, ``height``, ``caption``, ``shapes`` (polygons in fractions);
- ``timeline``: ``lanes`` of ``label``, ``extent``, ``spans`` (``start``, ``end`` in fractions, ``colour``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeAlias

from service.language import Words, likelihood, percent
from service.language.explain import noted

Block: TypeAlias = dict[str, Any]
"""See the module."""

MAX_SIGHTINGS: Final = 200
"""Most sightings that a sheet shows; the JSON document has all."""
MAX_CAPTURES: Final = 50
"""Most captures that a sheet shows."""
MAX_SEGMENTS: Final = 100
"""Most segments that a sheet shows."""
MAX_REPORTS: Final = 40
"""Most reports of a case that its sheet shows whole; the others are rows of a table."""
MAX_ROWS: Final = 1000
"""Most rows of the tables of a case's reports and of a bundle's files."""
MAX_STILLS: Final = 6
"""Most segments of a film that are shown in pictures."""
MAX_TEXT: Final = 2000
"""Most characters of one text that a stranger wrote; the rest is in the JSON document."""


_MODALITIES: Final = {
    "image": noted("Picture"),
    "audio": noted("Sound"),
    "video": noted("Film"),
    "text": noted("Text"),
    "container": noted("Container"),
}
_OUTCOMES: Final = {
    "infringing": noted("Infringing copy"),
    "licensed": noted("Licensed use"),
    "fair_use": noted("Fair use or quotation"),
    "wrong_match": noted("Wrong match: no copy"),
    "need_more": noted("More must be known first"),
}
_STATES: Final = {
    "open": noted("open"),
    "waiting": noted("waiting for more"),
    "decided": noted("decided"),
}
_CONTENTS: Final = {
    "picture": noted("picture"),
    "sound": noted("sound"),
    "picture and sound": noted("picture and sound"),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that the sheet shows: one that Copyhound made itself.

    Attributes:
        file: Name, such as ``suspect.jpg``.
        media_type: Such as ``image/jpeg``.
        content: The file.
        of_work: Whether it is of the work, not of the suspect.
        outlined: Whether the regions of the match are drawn on it.
    """

    file: str
    media_type: str
    content: bytes
    width: int
    height: int
    of_work: bool
    outlined: bool


@dataclass(frozen=True, slots=True)
class Still:
    """What a film shows at one moment of a segment.

    Attributes:
        segment: Which, from 0.
        at: Seconds from the film's beginning.
    """

    segment: int
    at: float
    picture: Picture


@dataclass(frozen=True, slots=True)
class Extras:
    """What a sheet shows beside the document.

    Attributes:
        pictures: Of the suspect and of the work, one each at most.
        stills: Of films: what both show in the middle of the first segments.
        passages: Of texts: what the suspect and the work say, by segment; empty: not to be shown.
        lengths: Seconds or characters of the suspect and of the work; 0: unknown.
        files: Path, bytes and SHA-256 (hexadecimal) of the other files of a bundle.
        key: Id of the key that signs the bundle; empty: it is no bundle.
        pending: Whether what is kept to show of the suspect is still being made.
        parts: Of a container: the same of the first parts of the match, in its order.
    """

    pictures: tuple[Picture, ...] = ()
    stills: tuple[Still, ...] = ()
    passages: tuple[tuple[str, str], ...] = ()
    lengths: tuple[float, float] = (0.0, 0.0)
    files: tuple[tuple[str, int, str], ...] = ()
    key: str = ""
    pending: bool = False
    parts: "tuple[Extras, ...]" = ()

    @property
    def every_picture(self) -> tuple[Picture, ...]:
        """All pictures that the sheet shows."""
        of_parts = (picture for part in self.parts for picture in part.every_picture)
        return (*self.pictures, *(one.picture for one in self.stills), *of_parts)


def lay_out(document: Mapping[str, Any], words: Words, extras: Extras) -> dict[str, Any]:
    """Lay a document out.

    Args:
        document: As `service.evidence.document.build` makes it, in the same language.
        words: Of domain ``report``.
        extras: What is shown beside it.

    Returns:
        ``title``, ``name``, ``header``, ``footer``, ``author``, ``language``, ``blocks``: see the module.
    """
    made = _Sheet(document, words, extras)
    blocks = [
        *made.summary(),
        *made.found(),
        *made.measures(),
        *made.places(),
        *made.captures(),
        *made.reference(),
        *made.decisions(document["cases"]),
        *made.software(),
        *made.files(),
        *made.verification(),
    ]
    return {
        "title": words.text("Report on a match"),
        "name": document["report"]["name"],
        "header": shown(document["work"]["title"] or document["work"]["name"], 50),
        "footer": words.text("Made by Copyhound %(version)s on %(time)s", **made.origin()),
        "author": "Copyhound",
        "language": words.language,
        "blocks": blocks,
    }


def lay_out_case(
    document: Mapping[str, Any],
    reports: Sequence[tuple[Mapping[str, Any], Extras]],
    words: Words,
    extras: Extras,
) -> dict[str, Any]:
    """Lay the document of a case out.

    Args:
        document: As `service.evidence.document.build_case` makes it, in the same language.
        reports: The documents of its first reports, and what is shown beside each.
        words: Of domain ``report``.
        extras: What is shown beside the case.

    Returns:
        As `lay_out`.
    """
    made = _CaseSheet(document, words, extras)
    sheets = [_Sheet(values, words, beside) for values, beside in reports]
    blocks = [*made.summary(), *made.decisions([document["case"]]), *made.reports()]
    proofs = {values["reference"]["name"]: one for (values, _), one in zip(reports, sheets, strict=True)}
    for one in proofs.values():
        blocks += one.reference()
    for number, one in enumerate(sheets, 1):
        blocks += made.report(number, one)
    blocks += [*made.software(), *made.files(), *made.verification()]
    return {
        "title": words.text("Report on a case"),
        "name": document["case"]["name"],
        "header": shown(f"{document['work']['title']} – {document['case']['site']}", 60),
        "footer": words.text("Made by Copyhound %(version)s on %(time)s", **made.origin()),
        "author": "Copyhound",
        "language": words.language,
        "blocks": blocks,
    }


def shown(text: object, most: int = MAX_TEXT) -> str:
    """A stranger's text, cut, and with control and formatting characters made visible."""
    value = str(text)
    cut = value[:most]
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return plain if len(value) <= most else f"{plain} … (+{len(value) - most:,})"


def moment(text: str | None) -> str:
    """A time of a document, to the second."""
    if not text:
        return "–"
    at = datetime.fromisoformat(text).astimezone(UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def offset(value: float, unit: str) -> str:
    """A place in a medium: hours, minutes and seconds, or a count."""
    if unit != "second":
        return f"{value:,.0f}"
    minutes, seconds = divmod(value, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{seconds:05.2f}"


class _Sections:
    """The sections that the sheets of reports and of cases have in common."""

    def __init__(self, document: Mapping[str, Any], words: Words, extras: Extras) -> None:
        self._document = document
        self._say = words
        self._extras = extras

    def origin(self) -> dict[str, str]:
        """Who made the document, and when."""
        return {
            "version": self._document["software"]["copyhound"],
            "time": moment(self._document["created_at"]),
        }

    def decisions(self, cases: Sequence[Mapping[str, Any]]) -> list[Block]:
        """What people decided, and the events of the cases."""
        say = self._say
        blocks: list[Block] = [_heading(2, say.text("Decisions"))]
        if not any(case["decisions"] for case in cases):
            blocks.append(_text(say.text("Nobody has decided on this match yet.")))
        for case in cases:
            site = shown(case["site"] or "–", 200)
            state = self._named(_STATES, case["state"])
            blocks.append(_heading(3, say.text("Case at %(site)s: %(state)s", site=site, state=state)))
            columns = [
                _column(say.text("When"), 3),
                _column(say.text("Decision"), 4),
                _column(say.text("Reason and note"), 6),
                _column(say.text("Who"), 3, "code"),
            ]
            rows = [
                [
                    moment(one["at"]),
                    self._ruled(one),
                    shown(": ".join(text for text in (one["reason"], one["note"]) if text) or "–"),
                    self._person(one["actor"]),
                ]
                for one in case["decisions"]
            ]
            if rows:
                blocks.append({"kind": "table", "columns": columns, "rows": rows})
            blocks.append(self._events(case["events"]))
        return blocks

    def software(self) -> list[Block]:
        """What made the document."""
        versions = ", ".join(f"{name} {value}" for name, value in self._document["software"].items())
        return [_heading(2, self._say.text("Software")), _text(versions)]

    def files(self) -> list[Block]:
        """The other files of the bundle, with their digests."""
        if not self._extras.files:
            return []
        columns = [
            _column(self._say.text("File"), 5, "code"),
            _column(self._say.text("Bytes"), 2),
            _column("SHA-256", 7, "code"),
        ]
        listed = self._extras.files[:MAX_ROWS]
        rows = [[path, f"{size:,}", digest] for path, size, digest in listed]
        return [
            _heading(2, self._say.text("Files of this bundle")),
            {"kind": "table", "columns": columns, "rows": rows},
            *self._more(len(self._extras.files) - len(listed)),
        ]

    def verification(self) -> list[Block]:
        """How anybody checks all this."""
        say = self._say
        blocks: list[Block] = [_heading(2, say.text("How to verify"))]
        if not self._extras.key:
            return [
                *blocks,
                _text(
                    say.text(
                        "This page alone proves nothing. Export the evidence of it: that holds the"
                        " captures, the digests of all files and a signature, and `copyhound verify` checks"
                        " them offline."
                    )
                ),
            ]
        return [
            *blocks,
            _text(
                say.text(
                    "The file SHA256SUMS holds the digest of every file of this bundle, and SHA256SUMS.sig a"
                    " signature over it. Whoever has the public key from the operator of the server, and not"
                    " from the bundle, can check that nothing was altered since:"
                )
            ),
            {"kind": "code", "lines": COMMANDS},
            _facts(_fact(say.text("Signed by the key"), self._extras.key, "code")),
        ]

    def _named(self, names: Mapping[str, str], code: str) -> str:
        """A code in words; one that is not known as it is."""
        message = names.get(code)
        return code if message is None else self._say.text(message)

    def _standing(self, cases: Sequence[Mapping[str, Any]]) -> str:
        standing = []
        for case in cases:
            last = [one for one in case["decisions"] if one["undone_by"] is None][-1:]
            standing += [f"{self._named(_OUTCOMES, one['outcome'])} ({moment(one['at'])})" for one in last]
        return "; ".join(standing) or self._say.text("none yet")

    def _ruled(self, decision: Mapping[str, Any]) -> str:
        outcome = self._named(_OUTCOMES, decision["outcome"])
        if decision["undone_by"] is None:
            return outcome
        return self._say.text("%(outcome)s (undone)", outcome=outcome)

    def _events(self, events: Sequence[Mapping[str, Any]]) -> Block:
        say = self._say
        columns = [
            _column("", 1),
            _column(say.text("When"), 4),
            _column(say.text("What"), 4),
            _column(say.text("Who"), 3, "code"),
            _column(say.text("Facts, and the event's digest"), 9, "code"),
        ]
        rows = [
            [
                str(one["number"]),
                moment(one["at"]),
                shown(one["action"], 50),
                self._person(one["actor"]),
                f"{shown(one['detail'], 500)}\n{one['sha256']}",
            ]
            for one in events
        ]
        return {"kind": "table", "columns": columns, "rows": rows}

    def _person(self, actor: str) -> str:
        """Who did something: the name, where the key has one, and the key's id."""
        name = self._document["people"].get(actor)
        return shown(actor, 100) if name is None else f"{shown(name, 100)}\n{shown(actor, 100)}"

    def _more(self, count: int) -> list[Block]:
        if count <= 0:
            return []
        say = self._say
        return [
            _note(
                say.plural(
                    "%(num)s more is in the files beside this one, or on the server.",
                    "%(num)s more are in the files beside this one, or on the server.",
                    count,
                )
            )
        ]


class _Sheet(_Sections):
    """The sections of a report's sheet."""

    def summary(self) -> list[Block]:
        """What, where, when, how sure, in a few lines."""
        say, document = self._say, self._document
        work, content, sightings = document["work"], document["content"], document["sightings"]
        title = shown(work["title"] or work["external_id"] or work["name"], 200)
        site = shown(sightings[0]["site"] or sightings[0]["media_url"], 200) if sightings else "–"
        rows = [
            _fact(say.text("Work"), title),
            _fact(say.text("Owner of the work"), shown(work["owner"], 200)),
            _fact(say.text("Owner's own number"), shown(work["external_id"] or "–", 300)),
            _fact(say.text("Kind of media"), self._named(_MODALITIES, content["modality"])),
            _fact(say.text("First seen"), moment(sightings[0]["first_seen_at"]) if sightings else "–"),
            _fact(say.text("Places"), f"{document['sighting_count']:,}"),
            _fact(say.text("Probability of a copy"), likelihood(document["match"]["probability"])),
            _fact(say.text("Decision"), self._standing(document["cases"])),
            _fact(
                say.text("Report"),
                say.text(
                    "%(name)s, revision %(revision)s",
                    name=document["report"]["name"],
                    revision=document["report"]["revision"],
                ),
                "code",
            ),
            _fact(say.text("SHA-256 of the suspect"), content["sha256"], "code"),
        ]
        lead = say.text(
            "A file seen at %(site)s holds, with a probability of %(probability)s, a copy of the work"
            " “%(title)s”.",
            site=site,
            probability=likelihood(document["match"]["probability"]),
            title=title,
        )
        blocks: list[Block] = [{"kind": "lead", "text": lead}, {"kind": "facts", "rows": rows}]
        if work["deleted"]:
            blocks.append(
                _note(say.text("The work was deleted from the register after this report was made."))
            )
        if document["report"]["on_registration"]:
            blocks.append(
                _note(
                    say.text(
                        "The work was registered after the suspect had been captured, and found in it then."
                    )
                )
            )
        return blocks

    def identity(self) -> list[Block]:
        """Which report it is, of which content, where that was seen first."""
        say, document = self._say, self._document
        report, content, sightings = document["report"], document["content"], document["sightings"]
        rows = [
            _fact(say.text("Report"), report["name"], "code"),
            _fact(say.text("Kind of media"), self._named(_MODALITIES, content["modality"])),
            _fact(say.text("Probability of a copy"), likelihood(document["match"]["probability"])),
            _fact(say.text("SHA-256 of the suspect"), content["sha256"], "code"),
        ]
        if sightings:
            first = sightings[0]
            rows.insert(
                1, _fact(say.text("Page"), shown(first["page_url"] or first["media_url"], 500), "code")
            )
        return [_facts(*rows)]

    def found(self) -> list[Block]:
        """Where in both: pictures, segments, passages."""
        say, match = self._say, self._document["match"]
        blocks: list[Block] = [_heading(2, say.text("What was found"))]
        blocks += [_text(sentence) for sentence in self._document["explanation"]]
        if self._extras.pending:
            blocks.append(
                _note(say.text("A preview of the suspect is still being made; it will be here later."))
            )
        blocks += self._located(match, self._extras)
        return [*blocks, *self._parts(match)] if match["parts"] else blocks

    def _located(self, match: Mapping[str, Any], extras: Extras, *, part: bool = False) -> list[Block]:
        """Where in both, of a match or of one of its parts."""
        say = self._say
        blocks = self._pictures(match["regions"], extras)
        if match["regions"]:
            rows = [
                [_area(one["work"]), _area(one["query"]), shown(one["said"], 200)] for one in match["regions"]
            ]
            columns = [
                _column(say.text("In the work (left, top – right, bottom)"), 3),
                _column(say.text("In the suspect"), 3),
                _column(say.text("What was done to it"), 4),
            ]
            blocks.append({"kind": "table", "columns": columns, "rows": rows})
        if match["segments"]:
            # A part has a heading of its own, below which there are no further ones.
            blocks += self._segments(match["segments"], extras, _text if part else partial(_heading, 3))
        return blocks

    def _parts(self, match: Mapping[str, Any]) -> list[Block]:
        """How many parts of a container are copies, and which of what."""
        say = self._say
        counts = [
            [
                self._named(_MODALITIES, one["modality"]),
                say.text("%(found)s of %(count)s", found=one["query_found"], count=one["query_count"]),
                say.text("%(found)s of %(count)s", found=one["work_found"], count=one["work_count"]),
            ]
            for one in match["part_counts"]
        ]
        rows = [
            [
                str(number),
                shown(one["name"], 300),
                shown(one["filename"] or one["reference"], 300),
                likelihood(one["probability"]),
                f"{percent(one['query_coverage'])} / {percent(one['work_coverage'])}",
            ]
            for number, one in enumerate(match["parts"], 1)
        ]
        blocks = [
            _heading(3, say.text("Parts")),
            {
                "kind": "table",
                "columns": [
                    _column(say.text("Kind of media"), 3),
                    _column(say.text("Copies in the suspect"), 3),
                    _column(say.text("Of those of the work"), 3),
                ],
                "rows": counts,
            },
            {
                "kind": "table",
                "columns": [
                    _column("", 1),
                    _column(say.text("Part of the suspect"), 6, "code"),
                    _column(say.text("Is a copy of"), 6, "code"),
                    _column(say.text("Probability of a copy"), 2),
                    _column(say.text("Share of it, of the original"), 2),
                ],
                "rows": rows,
            },
            *self._more(sum(one["query_found"] for one in match["part_counts"]) - len(rows)),
        ]
        for number, (one, extras) in enumerate(zip(match["parts"], self._extras.parts, strict=False), 1):
            title = say.text("Part %(number)s: %(name)s", number=number, name=shown(one["name"], 100))
            blocks += [_heading(3, title), *self._located(one, extras, part=True)]
        return blocks

    def _pictures(self, regions: Sequence[Mapping[str, Any]], extras: Extras) -> list[Block]:
        say = self._say
        items = []
        for one in sorted(extras.pictures, key=lambda picture: picture.of_work):
            side = "work" if one.of_work else "query"
            caption = (
                say.text("The registered work, reduced") if one.of_work else say.text("The suspect, reduced")
            )
            item = {
                "file": one.file,
                "width": one.width,
                "height": one.height,
                "caption": caption,
                "shapes": [_shape(region, side) for region in regions] if one.outlined else [],
            }
            items.append(item)
        return [{"kind": "pictures", "items": items}] if items else []

    def _segments(
        self, segments: Sequence[Mapping[str, Any]], extras: Extras, title: Callable[[str], Block]
    ) -> list[Block]:
        say = self._say
        unit = segments[0]["unit"]
        drawn = segments[:MAX_SEGMENTS]
        lanes = []
        for label, side, length in zip(
            (say.text("Suspect"), say.text("Work")), ("query", "work"), extras.lengths, strict=True
        ):
            end = max(length, *(one[side][1] for one in drawn)) or 1.0
            spans = [
                {"start": one[side][0] / end, "end": one[side][1] / end, "colour": place}
                for place, one in enumerate(drawn)
            ]
            extent = f"{offset(0, unit)} – {offset(end, unit)}"
            lanes.append({"label": label, "extent": extent, "spans": spans})
        columns = [
            _column(say.text("In the suspect"), 3),
            _column(say.text("In the work"), 3),
            _column(say.text("What corresponds, and what was done to it"), 4),
        ]
        rows = [
            [
                f"{offset(one['query'][0], unit)} – {offset(one['query'][1], unit)}",
                f"{offset(one['work'][0], unit)} – {offset(one['work'][1], unit)}",
                ", ".join([*self._content(one["content"]), *one["said"]]) or say.text("unchanged"),
            ]
            for one in drawn
        ]
        heading = {
            "second": say.text("Where in time (hours:minutes:seconds)"),
            "character": say.text("Where in the text (characters)"),
        }.get(unit, say.text("Where (frames)"))
        blocks: list[Block] = [
            title(heading),
            {"kind": "timeline", "lanes": lanes},
            {"kind": "table", "columns": columns, "rows": rows},
        ]
        blocks += self._more(len(segments) - len(drawn))
        blocks += self._stills(segments, extras, title)
        if extras.passages:
            columns = [_column(say.text("The suspect says"), 1), _column(say.text("The work says"), 1)]
            rows = [[shown(" ".join(text.split())) for text in pair] for pair in extras.passages]
            blocks += [
                title(say.text("Passages")),
                {"kind": "table", "columns": columns, "rows": rows},
            ]
        return blocks

    def _stills(
        self, segments: Sequence[Mapping[str, Any]], extras: Extras, title: Callable[[str], Block]
    ) -> list[Block]:
        """Both films, side by side, in the middle of the first segments."""
        say = self._say
        blocks: list[Block] = []
        for place, segment in enumerate(segments[:MAX_STILLS]):
            items = []
            for one in extras.stills:
                if one.segment != place:
                    continue
                at = offset(one.at, "second")
                of_work = one.picture.of_work
                caption = say.text("The work at %(time)s", time=at) if of_work else ""
                region = segment["region"]
                items.append(
                    {
                        "file": one.picture.file,
                        "width": one.picture.width,
                        "height": one.picture.height,
                        "caption": caption or say.text("The suspect at %(time)s", time=at),
                        "shapes": [_corners(region)] if region and not of_work else [],
                    }
                )
            if items:
                blocks.append({"kind": "pictures", "items": items})
        told = title(say.text("Both in the middle of the first segments"))
        return [told, *blocks] if blocks else []

    def measures(self) -> list[Block]:
        """What the probability rests on."""
        rows = [
            {
                "label": one["label"],
                "value": one["shown"],
                "sentence": one["sentence"],
                "telling": one["telling"],
            }
            for one in self._document["match"]["signals"]
        ]
        return [
            _heading(2, self._say.text("What the probability rests on")),
            {"kind": "measures", "rows": rows},
            _note(
                self._say.text(
                    "Score and rules: revision %(revision)s, change %(sequence)s of the register.",
                    revision=self._document["report"]["policy_revision"],
                    sequence=self._document["report"]["index_sequence"],
                )
            ),
        ]

    def places(self) -> list[Block]:
        """Where and when it was seen."""
        say, sightings = self._say, self._document["sightings"]
        columns = [
            _column(say.text("First seen"), 3),
            _column(say.text("Last seen"), 3),
            _column(say.text("Page, its title, and the file"), 9, "code"),
            _column(say.text("Capture"), 4, "code"),
        ]
        rows = [
            [
                moment(one["first_seen_at"]),
                moment(one["last_seen_at"]),
                "\n".join(
                    shown(text, 500)
                    for text in (one["page_url"], one["page_title"], one["media_url"], self._put_by(one))
                    if text
                ),
                (one["capture"] or "–").removeprefix("captures/"),
            ]
            for one in sightings[:MAX_SIGHTINGS]
        ]
        return [
            _heading(2, say.text("Where and when it was seen")),
            {"kind": "table", "columns": columns, "rows": rows},
            *self._more(self._document["sighting_count"] - len(rows)),
        ]

    def _put_by(self, sighting: Mapping[str, Any]) -> str:
        """Who put it there, as the page says; empty: it does not."""
        if not sighting["uploader"]:
            return ""
        return self._say.text("Put there, as the page says, by %(name)s.", name=sighting["uploader"])

    def captures(self, *, explained: bool = False) -> list[Block]:
        """How each capture was taken, and what happened since; `explained`: the reader knows captures."""
        say, captures = self._say, self._document["captures"]
        blocks: list[Block] = [_heading(2, say.text("How it was captured, and kept since"))]
        if not explained:
            told = say.text(
                "Each capture is one file that holds the requests, the answers and their times; its seal"
                " covers all of them. What happened to it since is a chain of events, each of which holds"
                " the digest of the one before."
            )
            blocks.append(_text(told))
        for one in captures[:MAX_CAPTURES]:
            rows = [
                _fact(say.text("Captured"), moment(one["captured_at"])),
                _fact(say.text("Received by the server"), moment(one["received_at"])),
                _fact(say.text("Address of the file"), shown(one["media_url"], 500), "code"),
                _fact(say.text("Address of the site's server"), shown(one["remote_address"] or "–", 100)),
                _fact(say.text("Type, as the site said"), shown(one["content_type"] or "–", 200)),
                _fact(say.text("Crawler"), shown(one["crawler"] or "–", 200)),
                _fact(
                    say.text("Software"),
                    shown(
                        ", ".join(f"{name} {value}" for name, value in one["software"].items()) or "–", 500
                    ),
                ),
                _fact(say.text("Size"), say.text("%(count)s bytes", count=f"{one['bytes']:,}")),
                _fact(say.text("SHA-256 of the capture"), one["sha256"], "code"),
                _fact(say.text("Seal"), one["seal"] or say.text("cannot be read"), "code"),
            ]
            blocks += [
                _heading(3, say.text("Capture %(id)s", id=one["name"].removeprefix("captures/"))),
                {"kind": "facts", "rows": rows},
                self._events(one["custody"]),
            ]
        return [*blocks, *self._more(len(captures) - MAX_CAPTURES)]

    def reference(self) -> list[Block]:
        """What proves that the work was registered."""
        say, reference = self._say, self._document["reference"]
        blocks: list[Block] = [_heading(2, say.text("The registered work"))]
        if reference["deleted"]:
            return [*blocks, _text(say.text("The media item that matched was deleted since."))]
        rows = [
            _fact(say.text("Media item"), reference["name"], "code"),
            _fact(say.text("Name of the file"), shown(reference["filename"] or "–", 300)),
            _fact(say.text("Registered"), moment(reference["registered_at"])),
            _fact(say.text("Change of the register"), f"{reference['sequence']:,}"),
            _fact(say.text("SHA-256 of the file"), reference["sha256"] or "–", "code"),
        ]
        columns = [
            _column(say.text("Fingerprint"), 3),
            _column(say.text("Descriptors"), 2),
            _column("SHA-256", 8, "code"),
        ]
        prints = [
            [one["scheme"], f"{one['descriptors']:,}", one["sha256"]] for one in reference["fingerprints"]
        ]
        return [
            *blocks,
            {"kind": "facts", "rows": rows},
            {"kind": "table", "columns": columns, "rows": prints},
        ]

    def _content(self, name: str) -> list[str]:
        return [self._say.text(_CONTENTS[name])] if name in _CONTENTS else []


class _CaseSheet(_Sections):
    """The sections of a case's sheet."""

    def summary(self) -> list[Block]:
        """What, where, how far, in a few lines."""
        say, document = self._say, self._document
        case, work, reports = document["case"], document["work"], document["reports"]
        title = shown(work["title"] or work["external_id"] or work["name"], 200)
        site = shown(case["site"] or "–", 200)
        lead = say.plural(
            "%(num)s file seen at %(site)s matches the work “%(title)s”.",
            "%(num)s files seen at %(site)s match the work “%(title)s”.",
            case["report_count"],
            site=site,
            title=title,
        )
        seen = [one["first_seen_at"] for one in reports if one["first_seen_at"]]
        best = max((one["probability"] for one in reports), default=0.0)
        blocks: list[Block] = [
            {"kind": "lead", "text": lead},
            _facts(
                _fact(say.text("Work"), title),
                _fact(say.text("Owner of the work"), shown(work["owner"], 200)),
                _fact(say.text("Owner's own number"), shown(work["external_id"] or "–", 300)),
                _fact(say.text("Site"), site),
                _fact(say.text("Reports"), f"{case['report_count']:,}"),
                _fact(say.text("First seen"), moment(min(seen, default=None))),
                _fact(say.text("Highest probability of a copy"), likelihood(best)),
                _fact(say.text("State"), self._named(_STATES, case["state"])),
                _fact(say.text("Decision"), self._standing([case])),
                _fact(
                    say.text("Case"),
                    say.text("%(name)s, revision %(revision)s", name=case["name"], revision=case["revision"]),
                    "code",
                ),
            ),
        ]
        if work["deleted"]:
            blocks.append(_note(say.text("The work was deleted from the register after this case was made.")))
        return blocks

    def reports(self) -> list[Block]:
        """All reports, a row each."""
        say, rows = self._say, self._document["reports"]
        columns = [
            _column("", 1),
            _column(say.text("First seen"), 3),
            _column(say.text("Page and file"), 8, "code"),
            _column(say.text("Probability"), 2),
            _column(say.text("Decided"), 2),
        ]
        shown_rows = [
            [
                str(number),
                moment(one["first_seen_at"]),
                "\n".join(shown(text, 300) for text in (one["page_url"], one["media_url"]) if text),
                likelihood(one["probability"]),
                say.text("yes") if one["covered"] else say.text("not yet"),
            ]
            for number, one in enumerate(rows[:MAX_ROWS], 1)
        ]
        return [
            _heading(2, say.text("The reports of this case")),
            {"kind": "table", "columns": columns, "rows": shown_rows},
            *self._more(self._document["case"]["report_count"] - len(shown_rows)),
        ]

    def report(self, number: int, sheet: _Sheet) -> list[Block]:
        """One report with all that is known of it, its headings one step lower."""
        blocks = [
            *sheet.identity(),
            *sheet.found(),
            *sheet.measures(),
            *sheet.places(),
            *sheet.captures(explained=number > 1),
        ]
        title = self._say.text("Report %(number)s", number=number)
        return [
            _heading(2, title),
            *({**one, "level": 3} if one["kind"] == "heading" else one for one in blocks),
        ]


COMMANDS: Final = [
    "copyhound verify BUNDLE.zip --key PUBLIC-KEY.pem",
    "sha256sum --check --strict SHA256SUMS",
    "openssl pkeyutl -verify -pubin -inkey PUBLIC-KEY.pem -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig",
    "openssl ts -verify -data SHA256SUMS -in SHA256SUMS.tsr -CAfile AUTHORITY.pem",
]
"""How to check a bundle: with Copyhound, or with common tools. The last one needs a time stamp."""


def _heading(level: int, text: str) -> Block:
    return {"kind": "heading", "level": level, "text": text}


def _text(text: str) -> Block:
    return {"kind": "text", "text": text}


def _note(text: str) -> Block:
    return {"kind": "note", "text": text}


def _fact(label: str, value: str, style: str = "") -> Block:
    return {"label": label, "value": value, "style": style}


def _facts(*rows: Block) -> Block:
    return {"kind": "facts", "rows": list(rows)}


def _column(label: str, width: int, style: str = "") -> Block:
    return {"label": label, "width": width, "style": style}


def _shape(region: Mapping[str, Any], side: str) -> list[list[float]]:
    """The outline of a region on one side: in the suspect, where the transform puts the work's corners."""
    corners = _corners(region["work"])
    if side == "work":
        return corners
    a, b, c, d, e, f, g, h, i = region["matrix"]
    shape = []
    for x, y in corners:
        depth = g * x + h * y + i
        if depth <= 0.0:  # beyond the horizon: the box alone is sure
            return _corners(region["query"])
        shape.append([_clip((a * x + b * y + c) / depth), _clip((d * x + e * y + f) / depth)])
    return shape


def _corners(box: Sequence[float]) -> list[list[float]]:
    left, top, right, bottom = box
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def _clip(fraction: float) -> float:
    return min(max(fraction, 0.0), 1.0)


def _area(box: Sequence[float]) -> str:
    left, top, right, bottom = (f"{100 * side:.1f}" for side in box)
    return f"{left} %, {top} % – {right} %, {bottom} %"
