"""HLS and DASH: from a manifest to the pieces whose concatenation can be played.

One variant is enough to find a copy: the cheapest whose picture is at least 240 lines high. What is encrypted
is left alone.

HLS is RFC 8216, DASH is ISO/IEC 23009-1.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from lxml import etree

from crawler import urls

USEFUL_HEIGHT: Final = 240
"""Lines below which a variant is taken only if there is no other."""
MAX_PIECES: Final = 2_000
"""Most pieces of one plan."""
_ATTRIBUTE: Final = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)')
_DURATION: Final = re.compile(r"^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?)?$")
_TEMPLATE: Final = re.compile(r"\$(RepresentationID|Number|Time|Bandwidth)?(?:%0(\d+)d)?\$")


class PlaylistError(Exception):
    """There is nothing in it that can be played: no manifest, encrypted, or empty."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the stream.

    Attributes:
        url: As `urls.absolute` returns it.
        first: First byte of it at the URL; None: all of it.
        length: Bytes from there.
        seconds: How long it plays; 0: the header of what follows.
    """

    url: str
    first: int | None = None
    length: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to fetch next.

    Attributes:
        pieces: The stream's parts in order, from its beginning.
        playlist: Another manifest that has to be read first; None: the pieces are here.
        kind: ``hls`` or ``dash``.
    """

    kind: str
    pieces: tuple[Piece, ...] = ()
    playlist: str | None = None


def read_playlist(text: str, url: str) -> Plan:
    """Read a manifest, HLS or DASH.

    Args:
        text: The manifest.
        url: Where it came from, after redirects.

    Raises:
        PlaylistError: If nothing in it can be played.
    """
    text = text.lstrip("\ufeff \r\n\t")
    if text.startswith("#EXTM3U"):
        return _hls(text, url)
    if "<MPD" in text[:4096]:
        return _dash(text, url)
    raise PlaylistError("it is neither HLS nor DASH")


def _attributes(line: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(line.partition(":")[2])}


def _number(text: str | None, default: float = 0.0) -> float:
    try:
        value = float(text) if text is not None else default
    except ValueError:
        return default
    return value if value == value and abs(value) < 1e12 else default  # noqa: PLR0124  not a NaN


def _hls(text: str, url: str) -> Plan:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(line.startswith("#EXT-X-STREAM-INF") for line in lines):
        return _hls_master(lines, url)
    return Plan("hls", tuple(_hls_pieces(lines, url)) or _nothing())


def _nothing() -> tuple[Piece, ...]:
    raise PlaylistError("it names no piece")


def _hls_master(lines: list[str], url: str) -> Plan:
    variants = []
    for line, following in pairwise(lines):
        target = urls.absolute(following, url) if line.startswith("#EXT-X-STREAM-INF") else None
        if target and not following.startswith("#"):
            attributes = _attributes(line)
            height = _number(attributes.get("RESOLUTION", "0x0").lower().partition("x")[2])
            variants.append((height, _number(attributes.get("BANDWIDTH")), target))
    if not variants:
        raise PlaylistError("it names no variant")
    return Plan("hls", playlist=min(variants, key=lambda v: _preference(v[0], v[1]))[2])


def _preference(height: float, bandwidth: float) -> tuple[bool, float]:
    """Order variants: the cheapest that is high enough, or does not say how high it is."""
    return 0 < height < USEFUL_HEIGHT, bandwidth


def _hls_pieces(lines: list[str], url: str) -> Iterator[Piece]:
    seconds, extent, ends, header = 0.0, "", dict[str, int](), None
    count = 0
    for line in lines:
        if line.startswith("#EXTINF"):
            seconds = _number(line.partition(":")[2].partition(",")[0])
        elif line.startswith("#EXT-X-BYTERANGE"):
            extent = line.partition(":")[2]
        elif line.startswith("#EXT-X-KEY") and _attributes(line).get("METHOD", "NONE") != "NONE":
            raise PlaylistError("it is encrypted")
        elif line.startswith("#EXT-X-MAP"):
            attributes = _attributes(line)
            target = urls.absolute(attributes.get("URI", ""), url)
            if target and target != header:
                header = target
                yield _ranged(target, attributes.get("BYTERANGE", ""), ends, 0.0)
        elif not line.startswith("#") and (target := urls.absolute(line, url)):
            yield _ranged(target, extent, ends, seconds)
            extent = ""
            count += 1
            if count >= MAX_PIECES:
                return


def _ranged(url: str, extent: str, ends: dict[str, int], seconds: float) -> Piece:
    """Read ``length[@first]``; without a beginning, it goes on where the last range of the URL ended."""
    length, _, first = extent.partition("@")
    if not (length.isascii() and length.isdigit()):
        return Piece(url, seconds=seconds)
    start = int(first) if first.isascii() and first.isdigit() else ends.get(url, 0)
    ends[url] = start + int(length)
    return Piece(url, start, int(length), seconds)


def _dash(text: str, url: str) -> Plan:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, recover=True, huge_tree=False, load_dtd=False
    )
    try:
        root = etree.fromstring(text.encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError as error:
        raise PlaylistError(f"it is no XML: {error}") from error
    period = _first(root, "Period") if root is not None else None
    if root is None or period is None:
        raise PlaylistError("it has no period")
    total = _seconds(period.get("duration")) or _seconds(root.get("mediaPresentationDuration"))
    base = _based(period, _based(root, url))
    candidates = []
    for group in _children(period, "AdaptationSet"):
        for representation in _children(group, "Representation"):
            if (
                _first(group, "ContentProtection") is None
                and _first(representation, "ContentProtection") is None
            ):
                kind = (
                    representation.get("mimeType") or group.get("mimeType") or group.get("contentType") or ""
                )
                height = _number(representation.get("height") or group.get("height"))
                rank = (
                    not kind.startswith("video"),
                    *_preference(height, _number(representation.get("bandwidth"))),
                )
                candidates.append((rank, group, representation))
    if not candidates:
        raise PlaylistError("it is encrypted, or names no representation")
    _, group, representation = min(candidates, key=lambda candidate: candidate[0])
    pieces = tuple(_dash_pieces(group, representation, _based(representation, _based(group, base)), total))
    return Plan("dash", pieces or _nothing())


def _dash_pieces(group: Any, representation: Any, base: str, total: float) -> Iterator[Piece]:
    template = _first(representation, "SegmentTemplate")
    inherited = _first(group, "SegmentTemplate")
    if template is not None or inherited is not None:
        attributes = {
            **(inherited.attrib if inherited is not None else {}),
            **(template.attrib if template is not None else {}),
        }
        timeline = next(
            (
                line
                for part in (template, inherited)
                if part is not None
                for line in _children(part, "SegmentTimeline")
            ),
            None,
        )
        yield from _templated(attributes, timeline, representation, base, total)
        return
    listed = _first(representation, "SegmentList")
    listed = listed if listed is not None else _first(group, "SegmentList")
    if listed is not None:
        yield from _listed(listed, base)
        return
    yield Piece(base)


def _listed(listed: Any, base: str) -> Iterator[Piece]:
    seconds = _number(listed.get("duration")) / (_number(listed.get("timescale"), 1.0) or 1.0)
    header = _first(listed, "Initialization")
    if header is not None:
        yield _extent(urls.absolute(header.get("sourceURL") or "", base) or base, header.get("range"), 0.0)
    for segment in _children(listed, "SegmentURL")[:MAX_PIECES]:
        target = urls.absolute(segment.get("media") or "", base) or base
        yield _extent(target, segment.get("mediaRange"), seconds)


def _extent(url: str, extent: str | None, seconds: float) -> Piece:
    first, _, last = (extent or "").partition("-")
    if first.isascii() and first.isdigit() and last.isascii() and last.isdigit() and int(last) >= int(first):
        return Piece(url, int(first), int(last) - int(first) + 1, seconds)
    return Piece(url, seconds=seconds)


def _templated(
    attributes: Mapping[str, str], timeline: Any, representation: Any, base: str, total: float
) -> Iterator[Piece]:
    scale = _number(attributes.get("timescale"), 1.0) or 1.0
    values = {
        "RepresentationID": representation.get("id") or "",
        "Bandwidth": representation.get("bandwidth") or "0",
    }
    number = int(_number(attributes.get("startNumber"), 1.0))
    header = attributes.get("initialization")
    if header and (target := urls.absolute(_filled(header, values), base)):
        yield Piece(target)
    media = attributes.get("media")
    if not media:
        return
    for index, (time, length) in enumerate(_times(attributes, timeline, scale, total)):
        filled = _filled(media, {**values, "Number": str(number + index), "Time": str(time)})
        if target := urls.absolute(filled, base):
            yield Piece(target, seconds=length / scale)


def _times(
    attributes: Mapping[str, str], timeline: Any, scale: float, total: float
) -> Iterator[tuple[int, float]]:
    """Yield start and length of each segment in units of the timescale."""
    if timeline is not None:
        count, time = 0, 0
        for part in _children(timeline, "S"):
            time = int(_number(part.get("t"), float(time)))
            length = int(_number(part.get("d")))
            for _ in range(min(MAX_PIECES, max(0, int(_number(part.get("r")))) + 1)):
                yield time, length
                time += length
                count += 1
                if count >= MAX_PIECES:
                    return
        return
    span = _number(attributes.get("duration"))
    if span <= 0:
        return
    # A live stream does not say how long it is: its first pieces are asked for until one is missing.
    count = min(MAX_PIECES, int(-(-(total * scale) // span)) if total else MAX_PIECES)
    for index in range(count):
        yield int(index * span), span


def _filled(template: str, values: Mapping[str, str]) -> str:
    """Fill in ``$Number%05d$`` and its like; ``$$`` is a dollar."""

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return "$"
        value = values.get(name, "")
        return value.zfill(min(int(match[2]), 32)) if match[2] else value

    return _TEMPLATE.sub(fill, template)


def _children(element: Any, name: str) -> list[Any]:
    return [part for part in element if isinstance(part.tag, str) and part.tag.rpartition("}")[2] == name]


def _first(element: Any, name: str) -> Any:
    return next(iter(_children(element, name)), None)


def _based(element: Any, base: str) -> str:
    """Return what references inside an element are relative to."""
    own = _first(element, "BaseURL")
    return urls.absolute(own.text or "", base) or base if own is not None else base


def _seconds(duration: str | None) -> float:
    """Read an ISO 8601 duration without years and months; 0: none."""
    match = _DURATION.match(duration or "")
    if match is None:
        return 0.0
    days, hours, minutes, seconds = (_number(part) for part in match.groups())
    return days * 86_400 + hours * 3_600 + minutes * 60 + seconds
