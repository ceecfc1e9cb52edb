"""Which pictures of H.264 no other picture that counts is built from, though others might be.

Encoders arrange pictures in groups that begin with one that stands alone. Pictures that are built from what
comes before them (P) may be built from those that lie between two others (B), or may not: x264 does so with
several reference pictures, as its presets from ``faster`` on have them, and not with one. If none is in a
whole group, all B pictures of that group can be left out, and no pixel of the others changes. Each P picture
says in its header which pictures it is built from, or leaves that to the rules: then they are the last ones
that are kept for it. Of a group with anything unusual, such as fields or pictures that are kept for long,
nothing is left out.

Names are those of ITU-T H.264 (08/2021), sections 7.3 (syntax), 8.2.4 and 8.2.5 (lists of reference
pictures).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from av.packet import Packet
from av.video.stream import VideoStream

MOST_APART: Final = 0.2
"""Seconds from one picture to the next that may be left when B pictures are left out: as much as three of
them take at 20 pictures a second."""

_MOST_PACKETS: Final = 600
_MOST_BYTES: Final = 16 * 1024 * 1024
"""Packets of a group, and bytes of them, that are held until it is known whether its B pictures are
needed."""

_IN_VAIN: Final = 4
"""Groups one after another of which nothing can be left out, after which no more are looked at."""

_HEADER_BYTES: Final = 256
"""More than what is read of parameters and of a slice's header takes as a rule; of more nothing is known."""
_MOST_NAMED: Final = 32
"""Reference pictures of a slice."""
_SLICE: Final = 1
_ALONE: Final = 5
_SEQUENCE: Final = 7
_PICTURE: Final = 8
"""Kinds of units: a slice, one of a picture that begins a group, and parameters of sequences and pictures."""
_P, _B, _I = range(3)
_HIGH: Final = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}
"""Profiles whose parameters tell of colours."""


def sorted_out(
    packets: Iterable["Packet[VideoStream]"], parameters: bytes
) -> Iterator[tuple["Packet[VideoStream]", bool]]:
    """Yield all packets of a stream in order, each with whether the B pictures of its group can be left out.

    Args:
        packets: One picture each; an empty one may end them.
        parameters: What the container holds of the stream beside its packets.
    """
    reader = _Reader(parameters)
    group, in_vain = _Group(), -1  # what comes before the first group is none
    waiting: list[Packet[VideoStream]] = []
    for packet in packets:
        if group.free or (packet.is_keyframe and in_vain < _IN_VAIN):
            begins = group.take(packet, reader)
            if begins is not None:
                yield from ((one, group.spare) for one in waiting)
                in_vain = 0 if group.spare else in_vain + 1
                waiting, group = [], begins if in_vain < _IN_VAIN else _Group()
        waiting.append(packet)
        if not group.free:
            yield from ((one, False) for one in waiting)
            waiting = []
    yield from ((one, group.spare) for one in waiting)


def groups(parameters: bytes) -> Callable[["Packet[VideoStream]"], bool]:
    """What tells whether a packet begins a group: no picture from it on is built from one before it.

    Args:
        parameters: What the container holds of the stream beside its packets.
    """
    reader = _Reader(parameters)

    def begins(packet: "Packet[VideoStream]") -> bool:
        try:
            return reader.begins(bytes(packet))
        except _UnusualError:
            return False

    return begins


class _UnusualError(Exception):
    """Something is not as it is as a rule."""


class _Bits:
    """Reads the bits of a unit one after another."""

    def __init__(self, unit: bytes) -> None:
        unit = unit.replace(b"\0\0\3", b"\0\0")  # which keeps the payload from looking like a start code
        self._bits = int.from_bytes(unit)
        self._left = 8 * len(unit)

    def take(self, count: int) -> int:
        """So many bits, as a number."""
        self._left -= count
        if self._left < 0:
            raise _UnusualError
        return self._bits >> self._left & ((1 << count) - 1)

    def unsigned(self) -> int:
        """A number in Exp-Golomb code, ue(v)."""
        rest = self._bits & ((1 << self._left) - 1)
        zeros = self._left - rest.bit_length()
        if zeros > 32:
            raise _UnusualError
        self._left -= zeros
        return self.take(zeros + 1) - 1

    def signed(self) -> None:
        """Pass over one with a sign, se(v), which is as long."""
        self.unsigned()


@dataclass(frozen=True, slots=True)
class _Sequence:
    """Of a sequence parameter set.

    Attributes:
        frame_bits: Bits of frame_num.
        order_bits: Bits of pic_order_cnt_lsb; 0: there is none.
        orders: How many deltas of the order a slice has: none, one, or one and one for the bottom field.
        frames_only: Whether there are no fields.
        coloured: Whether there is more than grey.
    """

    frame_bits: int
    order_bits: int
    orders: int
    frames_only: bool
    coloured: bool


@dataclass(frozen=True, slots=True)
class _Picture:
    """Of a picture parameter set.

    Attributes:
        sequence: The set of the sequence.
        bottom: Whether slices tell the order of the bottom field.
        references: From how many pictures slices are built, if they do not say otherwise: those before, and
            those after.
        weighted: Whether P slices, and B slices, tell how much each of these counts.
        redundant: Whether slices have redundant_pic_cnt.
    """

    sequence: int
    bottom: bool
    references: tuple[int, int]
    weighted: tuple[bool, bool]
    redundant: bool


@dataclass(frozen=True, slots=True)
class _Slice:
    """Of the header of a slice.

    Attributes:
        kind: P, B or I.
        number: Its frame_num.
        count: From how many pictures a P slice is built, at most.
        built_from: The frame_num of those that it names, the first ones.
        let_go: The frame_num of those that are kept no longer.
    """

    kind: int
    number: int
    count: int
    built_from: tuple[int, ...]
    let_go: tuple[int, ...]


class _Reader:
    """Reads what a stream's units say."""

    def __init__(self, parameters: bytes) -> None:
        self._sequences: dict[int, _Sequence] = {}
        self._pictures: dict[int, _Picture] = {}
        self._length_bytes = 0
        if parameters[:1] == b"\1" and len(parameters) > 6:  # AVCDecoderConfigurationRecord, ISO/IEC 14496-15
            self._length_bytes = (parameters[4] & 3) + 1
            at, count = 6, parameters[5] & 31
            for _ in range(2):
                for _ in range(count):
                    length = int.from_bytes(parameters[at : at + 2])
                    self._note(parameters[at + 2 : at + 2 + length])
                    at += 2 + length
                count, at = int.from_bytes(parameters[at : at + 1]), at + 1
        else:
            for unit in _after_start_codes(parameters):
                self._note(unit)

    def slices(self, packet: bytes) -> tuple[bool, list[_Slice]]:
        """Read a packet: whether it begins a group, and what its slices say that other pictures may need.

        Raises:
            _UnusualError: If they do not say it.
        """
        begins, found = False, []
        for unit in self._units(packet):
            kind = unit[0] & 31
            if kind in {_SEQUENCE, _PICTURE}:
                self._note(unit)
            elif kind in {_SLICE, _ALONE}:
                begins |= kind == _ALONE
                if unit[0] & 0x60:
                    found.append(self._slice(unit, alone=kind == _ALONE))
            elif 2 <= kind <= 4:  # parts of slices
                raise _UnusualError
        return begins, found

    def begins(self, packet: bytes) -> bool:
        """Whether a packet begins a group.

        Raises:
            _UnusualError: If it makes no sense.
        """
        return any(unit[0] & 31 == _ALONE for unit in self._units(packet))

    def _units(self, packet: bytes) -> Iterator[bytes]:
        if self._length_bytes:
            return _after_lengths(packet, self._length_bytes)
        return _after_start_codes(packet)

    def _note(self, unit: bytes) -> None:
        """Take note of parameters; without those that make no sense, slices make none."""
        try:
            if unit and unit[0] & 31 == _SEQUENCE:
                self._note_sequence(_Bits(unit[1:_HEADER_BYTES]))
            elif unit and unit[0] & 31 == _PICTURE:
                self._note_picture(_Bits(unit[1:_HEADER_BYTES]))
        except _UnusualError:
            self._pictures.clear()

    def _note_sequence(self, bits: _Bits) -> None:
        profile = bits.take(8)
        bits.take(16)
        number = bits.unsigned()
        coloured = True
        if profile in _HIGH:
            colours = bits.unsigned()
            coloured = colours > 0
            if colours == 3:  # planes of their own
                raise _UnusualError
            bits.unsigned()
            bits.unsigned()
            bits.take(1)
            if bits.take(1):  # lists of scales
                raise _UnusualError
        frame_bits = bits.unsigned() + 4
        order = bits.unsigned()
        order_bits, orders = 0, 0
        if order == 0:
            order_bits = bits.unsigned() + 4
        elif order == 1:
            orders = 1 - bits.take(1)
            bits.signed()
            bits.signed()
            for _ in range(bits.unsigned()):
                bits.signed()
        bits.unsigned()
        bits.take(1)
        bits.unsigned()
        bits.unsigned()
        self._sequences[number] = _Sequence(frame_bits, order_bits, orders, bool(bits.take(1)), coloured)

    def _note_picture(self, bits: _Bits) -> None:
        number, sequence = bits.unsigned(), bits.unsigned()
        bits.take(1)
        bottom = bool(bits.take(1))
        if bits.unsigned():  # groups of slices
            raise _UnusualError
        references = bits.unsigned() + 1, bits.unsigned() + 1
        weighted = bool(bits.take(1)), bits.take(2) == 1
        for _ in range(3):
            bits.signed()
        bits.take(2)
        self._pictures[number] = _Picture(sequence, bottom, references, weighted, bool(bits.take(1)))

    def _slice(self, unit: bytes, *, alone: bool) -> _Slice:
        bits = _Bits(unit[1:_HEADER_BYTES])
        bits.unsigned()
        kind = bits.unsigned() % 5
        picture = self._pictures.get(bits.unsigned())
        sequence = None if picture is None else self._sequences.get(picture.sequence)
        if kind not in {_P, _B, _I} or picture is None or sequence is None:
            raise _UnusualError
        number = bits.take(sequence.frame_bits)
        if not sequence.frames_only and bits.take(1):
            raise _UnusualError
        if alone:
            bits.unsigned()
        bits.take(sequence.order_bits)
        deltas = sequence.orders + (picture.bottom and bool(sequence.order_bits or sequence.orders))
        for _ in range(deltas):
            bits.signed()
        if picture.redundant and bits.unsigned():
            raise _UnusualError
        lists = {_P: 1, _B: 2, _I: 0}[kind]
        if kind == _B:
            bits.take(1)
        counts = list(picture.references)
        if lists and bits.take(1):
            counts[:lists] = (bits.unsigned() + 1 for _ in range(lists))
        named = [_named(bits, number, 1 << sequence.frame_bits) for _ in range(lists)]
        if lists and picture.weighted[kind == _B]:
            _pass_weights(bits, counts[:lists], coloured=sequence.coloured)
        let_go = _let_go(bits, number, 1 << sequence.frame_bits, alone=alone)
        return _Slice(kind, number, counts[0], named[0] if kind == _P else (), let_go)


def _named(bits: _Bits, number: int, most: int) -> tuple[int, ...]:
    """The frame_num of the pictures that a slice names, 7.3.3.1."""
    found: list[int] = []
    if bits.take(1):
        while (kind := bits.unsigned()) != 3:
            if kind > 1 or len(found) > _MOST_NAMED:
                raise _UnusualError
            apart = bits.unsigned() + 1
            number = (number + (apart if kind else -apart)) % most
            found.append(number)
    return tuple(found)


def _pass_weights(bits: _Bits, counts: list[int], *, coloured: bool) -> None:
    """Pass over how much each picture counts that a slice is built from, 7.3.3.2."""
    if max(counts) > _MOST_NAMED:
        raise _UnusualError
    for _ in range(1 + coloured):
        bits.unsigned()
    for _ in range(sum(counts)):
        for numbers in (2, 4)[: 1 + coloured]:
            for _ in range(numbers * bits.take(1)):
                bits.signed()


def _let_go(bits: _Bits, number: int, most: int, *, alone: bool) -> tuple[int, ...]:
    """The frame_num of pictures that are kept no longer, 7.3.3.3."""
    found: list[int] = []
    if alone:
        if bits.take(2) & 1:  # kept for long
            raise _UnusualError
    elif bits.take(1):
        while kind := bits.unsigned():
            if kind > 1 or len(found) > _MOST_NAMED:  # kept for long, or all let go
                raise _UnusualError
            found.append((number - bits.unsigned() - 1) % most)
    return tuple(found)


def _after_lengths(packet: bytes, length_bytes: int) -> Iterator[bytes]:
    """The units of a packet, each of which follows its length."""
    at = 0
    while at < len(packet):
        begin = at + length_bytes
        at = begin + int.from_bytes(packet[at:begin])
        if not begin < at <= len(packet):
            raise _UnusualError
        yield packet[begin:at]


def _after_start_codes(packet: bytes) -> Iterator[bytes]:
    """The units of a packet, each of which follows three bytes that are in none."""
    begin = packet.find(b"\0\0\1")
    while begin >= 0:
        end = packet.find(b"\0\0\1", begin + 3)
        unit = packet[begin + 3 : end if end >= 0 else len(packet)]
        if not unit:
            raise _UnusualError
        yield unit
        begin = end


@dataclass(slots=True, eq=False)
class _Group:
    """A group of pictures.

    Attributes:
        free: Whether nothing is known so far that is built from a B picture.
        _kept: Kinds by frame_num of the pictures that others may be built from, the last one last.
        _seen: Kinds of all pictures so far that others may be built from.
        _others: When those are shown that are no B pictures.
        _last: When the last picture is shown, seconds.
    """

    free: bool = False
    _kept: dict[int, int] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)
    _others: list[float] = field(default_factory=list)
    _last: float = 0.0
    _packets: int = 0
    _bytes: int = 0

    @property
    def spare(self) -> bool:
        """Whether its B pictures can be left out: it has some, and what is left is near each other."""
        if not self.free or _B not in self._seen:
            return False
        times = [*sorted(self._others), self._last]
        return all(later - one <= MOST_APART for one, later in pairwise(times))

    def take(self, packet: "Packet[VideoStream]", reader: _Reader) -> "_Group | None":
        """Take a packet up; if it begins another group, return that one instead, with it."""
        if not packet.size:
            return None
        try:
            begins, slices = reader.slices(bytes(packet))
            if begins:
                other = _Group(free=True)
                other._add(packet, slices)
                return other
            if self.free:
                self._add(packet, slices)
        except _UnusualError:
            self.free = False
        return None

    def _add(self, packet: "Packet[VideoStream]", slices: list[_Slice]) -> None:
        self._packets += 1
        self._bytes += packet.size
        if self._packets > _MOST_PACKETS or self._bytes > _MOST_BYTES or packet.pts is None:
            raise _UnusualError
        now = float(packet.pts * packet.time_base)
        self._last = max(self._last, now)
        kinds = {one.kind for one in slices}
        self._seen |= kinds
        if _B in kinds and len(kinds) > 1:
            raise _UnusualError
        if any(_B in self._built_from(one) for one in slices if one.kind == _P):
            raise _UnusualError
        for number in {number for one in slices for number in one.let_go}:
            self._kept.pop(number, None)
        for one in slices:
            self._kept.pop(one.number, None)
            self._kept[one.number] = one.kind
        if slices and _B not in kinds:
            self._others.append(now)

    def _built_from(self, one: _Slice) -> set[int]:
        """The kinds of pictures that a P slice may be built from: those that it names, then the last ones.

        What it does not name comes after what it names, and may be any of the last pictures.
        """
        named = {self._kept.get(number, _B) for number in one.built_from[: one.count]}
        if len(one.built_from) >= one.count:
            return named
        return named | set(list(self._kept.values())[-one.count :])
