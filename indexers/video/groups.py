"""Which packets of a film are needed for none of the frames that are taken.

Encoders begin a group of pictures with one from which on no picture is built from an earlier one. What comes
in a group after the last frame that is taken of it need not be decoded: with a frame a second and groups of
two seconds, that is a quarter of all. Which frame is taken is told by time stamps, so that nothing is left
out where these do not follow on from group to group.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from typing import Final, TypeVar

from av.packet import Packet
from av.video.stream import VideoStream

T = TypeVar("T")

_MOST_PACKETS: Final = 600
_MOST_BYTES: Final = 16 * 1024 * 1024
"""Packets of a group, and bytes of them, that are held until its end is known."""
_LONGEST_PAUSE: Final = 1.0
"""Seconds between groups from which on they may be of different clocks."""
STEP: Final = 1.0
"""Seconds from one frame that is taken to the next, at most."""
_ROUNDED: Final = 0.002
"""Seconds by which time stamps that are compared may be off."""


@dataclass(slots=True)
class Wanted:
    """What is asked for.

    Attributes:
        since: Time stamp from which on the next frame is taken, seconds: at most `STEP` after the last one
            that was taken. Moved on by who takes them.
        left_out: Time stamp of the latest picture that was left out.
    """

    since: float = -inf
    left_out: float = -inf


def needed(
    packets: Iterable[tuple["Packet[VideoStream]", T]],
    begins: Callable[["Packet[VideoStream]"], bool],
    wanted: Wanted,
) -> Iterator[tuple["Packet[VideoStream]", T]]:
    """Yield the packets that are needed, in order, each with what is said of it.

    Args:
        packets: All of a film's; an empty one may end them.
        begins: Whether a packet, which is not empty, begins a group.
        wanted: Is looked at for each packet as late as that can be.
    """
    before = _Group()
    group = _Group()
    waiting: list[tuple[Packet[VideoStream], T]] = []
    for packet, said in packets:
        if packet.is_keyframe and packet.size and begins(packet):
            yield from _needed(waiting, group.rest(before, packet), wanted)
            before, group, waiting = group, _Group(held=True), []
        waiting.append((packet, said))
        group.take(packet)
        if not group.held:
            yield from waiting
            waiting = []
    yield from waiting


def of_vp8(_parameters: bytes) -> Callable[["Packet[VideoStream]"], bool]:
    """What tells whether a packet of VP8 begins a group, by RFC 6386, 9.1: it replaces all that is kept."""
    return lambda packet: _first(packet) & 1 == 0


def of_vp9(_parameters: bytes) -> Callable[["Packet[VideoStream]"], bool]:
    """The same of VP9, by its specification, 6.2: marker, profile, whether it shows another, kind.

    Profile 3, which has a bit more, is left alone.
    """
    return lambda packet: _first(packet) & 0b1100_1100 == 0b1000_0000 and _first(packet) & 0b0011_0000 < 48


def _first(packet: "Packet[VideoStream]") -> int:
    """The first byte of a packet, which is not empty."""
    return memoryview(packet)[0]


def _needed(
    waiting: list[tuple["Packet[VideoStream]", T]], rest: list[float], wanted: Wanted
) -> Iterator[tuple["Packet[VideoStream]", T]]:
    for one, latest in zip(waiting, rest, strict=True):
        if -STEP <= latest - wanted.since < -_ROUNDED:
            wanted.left_out = latest
        else:
            yield one


class _Group:
    """A group of pictures."""

    def __init__(self, *, held: bool = False) -> None:
        self.held = held
        """Whether its packets wait for its end."""
        self._times: list[float] = []
        self._bytes = 0

    def take(self, packet: "Packet[VideoStream]") -> None:
        """Take note of its next packet."""
        self._bytes += packet.size
        if packet.pts is None or len(self._times) == _MOST_PACKETS or self._bytes > _MOST_BYTES:
            self.held = False
        if self.held and packet.pts is not None:
            self._times.append(_time(packet))

    def rest(self, before: "_Group", after: "Packet[VideoStream]") -> list[float]:
        """When the latest picture of each packet and those after it is shown; infinite: it is needed.

        Args:
            before: The group before it.
            after: What begins the next one.
        """
        if not self.held:
            return []
        if after.pts is None or not self._follows(before, _time(after)):
            return [inf] * len(self._times)
        return list(accumulate(reversed(self._times), max))[::-1]

    def _follows(self, before: "_Group", after: float) -> bool:
        """Whether it lies between the others in time, without a pause."""
        first, latest = self._times[0], max(self._times)
        if min(self._times) < first or not 0.0 <= after - latest <= _LONGEST_PAUSE:
            return False
        if before.held:
            return 0.0 <= first - max(before._times) <= _LONGEST_PAUSE  # noqa: SLF001 - its own kind
        return not before._bytes  # noqa: SLF001 - there is none


def _time(packet: "Packet[VideoStream]") -> float:
    return float((packet.pts or 0) * packet.time_base)
