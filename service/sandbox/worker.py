"""The process that reads untrusted media.

It is forked from a process that has loaded all libraries (`forkserver`).

Standard input is a Unix socket to the service. Each request comes with a file descriptor, is answered with
one message (`wire`), and the next is read. The process ends when the service closes the socket. Anything
unexpected ends it too: the service reports that as a crash and starts another.
"""

import hashlib
import io
import os
import socket
import time
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from pi_heif import options as heif_options
from PIL import AvifImagePlugin, Image

from indexers import containers as container_files
from indexers import demux, registry
from indexers.containers import Container, Watched
from indexers.errors import MediaError, ModelError
from indexers.fingerprint import SpanUnit
from indexers.image import ImageModality
from indexers.modality import MediaLimits, Role, Segment
from indexers.networks import UserNetwork
from indexers.previews import Budget, Facts, Kind
from service.sandbox import confine, wire

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

T = TypeVar("T")

_LONGEST_REASON = 2000
"""Bytes of what is told where the process cannot serve."""

_PREVIEW_SHARE = 0.7
"""Part of the time for an item after which no more of its preview is made."""
_PIECE_BYTES = 256 * 1024
_PATIENT = 10
"""Of the 19 steps by which a process can stand back."""
_TOLD_EVERY = 1.0
"""Seconds between two words of how much was read."""

_IN_MEMORY_BYTES = 4 * 1024 * 1024
"""Files up to this size are read at once: decoders ask for many small pieces, the digest for all of them."""

_cpu_seconds = time.thread_time
"""Of the one thread that reads. Once a process has a limit on its CPU time, as `confine` sets, Linux counts
what all of its threads took in whole ticks of some milliseconds."""


def main(arguments: list[str]) -> None:
    """Serve until the socket is closed.

    Args:
        arguments: Address space above the start, in MiB; CPU seconds for one item, more for each MiB of its
            file, more for each hour that was read of it; where pictures are described by a user's network,
            its TOML file's text and path.
    """
    memory_mb, limit = int(arguments[0]), confine.TimeLimit(*map(float, arguments[1:4]))
    channel = socket.socket(fileno=0)
    with ExitStack() as stack:
        try:
            if network := arguments[4:]:
                image = ImageModality(UserNetwork.parse(network[0], Path(network[1])))
                stack.enter_context(registry.using(image))
            _warm_up()
        except ModelError as error:
            channel.sendall(wire.UNFIT + str(error).encode()[:_LONGEST_REASON])
            return
        _serve_all(channel, memory_mb, limit)


def _serve_all(channel: socket.socket, memory_mb: int, limit: confine.TimeLimit) -> None:
    """Give up what is not needed, and serve until the socket is closed."""
    confine.confine(memory_bytes=memory_mb * 1024 * 1024)
    channel.sendall(wire.READY)
    containers = _Containers()
    while (received := _receive(channel)) is not None:
        request, descriptor = received
        with os.fdopen(descriptor, "rb") as media:
            size = os.fstat(descriptor).st_size
            if not isinstance(request, wire.ListRequest):
                size = max(size, request.byte_count)
            seconds = limit.of(size)
            confine.limit_cpu(seconds)
            if isinstance(request, wire.PreviewRequest):
                _show(channel, media, request, containers, seconds)
            else:
                _serve(channel, media, request, containers, _Told(channel, limit, size))


class _Containers:
    """Keeps the container whose parts are read one after another open; whatever else comes, lets go of it."""

    def __init__(self) -> None:
        self._open: tuple[tuple[int, int], BinaryIO, Container] | None = None

    def of(self, media: BinaryIO, limits: MediaLimits) -> Container:
        """The container that a file is.

        Raises:
            MediaError: If it cannot be opened.
        """
        status = os.fstat(media.fileno())
        file = status.st_dev, status.st_ino  # as long as it is open, no other file has them
        if self._open is None or self._open[0] != file:
            self.close()
            kept = os.fdopen(os.dup(media.fileno()), "rb")
            try:
                self._open = file, kept, Container(kept, limits)
            except BaseException:
                kept.close()
                raise
        return self._open[2]

    def item(self, media: BinaryIO, request: wire.Request | wire.PreviewRequest) -> BinaryIO:
        """What a request is about: a file, or a part of it.

        Raises:
            MediaError: If the part cannot be unpacked.
        """
        if request.place is None:
            self.close()
            return media
        return self.of(media, request.limits).content(request.place)

    def close(self) -> None:
        """Let go."""
        if self._open is not None:
            self._open[1].close()
            self._open = None


def _warm_up() -> None:
    """Make the first item as fast as the others, and keep decoders from starting threads."""
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    heif_options.DECODE_THREADS = 1
    Image.init()
    for modality in registry.modalities():
        modality.prepare()
    container_files.prepare()


def _receive(
    channel: socket.socket,
) -> tuple[wire.Request | wire.ListRequest | wire.PreviewRequest, int] | None:
    """Return the next request and its file; None when the service has closed the socket."""
    prefix, descriptors, _, _ = socket.recv_fds(channel, wire.PREFIX.size, 1)
    if not prefix:
        return None
    length, _ = wire.lengths(prefix)
    return wire.unpack_request(channel.recv(length, socket.MSG_WAITALL)), descriptors[0]


def _serve(
    channel: socket.socket,
    media: BinaryIO,
    request: wire.Request | wire.ListRequest,
    containers: _Containers,
    told: "_Told",
) -> None:
    """Answer a request, of an item stage by stage, as long as the service wants to know more.

    The preview that it wants too is a message of its own, which follows the answer: whatever becomes of it,
    the answer has arrived.
    """
    try:
        if isinstance(request, wire.ListRequest):
            container = containers.of(media, request.limits)
            channel.sendall(wire.pack_listing(container.kind, container.parts(), container.left_out))
            return
        item = containers.item(media, request)
        first: list[Segment[Any]] = []
        stages = _stages(item, request, told, first)
        read = next(stages)
        while True:
            channel.sendall(wire.pack_media(read))
            word = channel.recv(1) if read.more else wire.ENOUGH
            if word not in (wire.GO_ON, wire.CLOSER):
                break
            read = stages.send(_closer(channel) if word == wire.CLOSER else None)
        if request.show and read.modality in wire.SHOWN_AT_ONCE:
            stages.close()
            confine.limit_cpu(told.seconds)
            begun = first[0] if first else None
            channel.sendall(_shown(item, read.modality, request.limits, told.seconds, begun))
    except (MediaError, MemoryError) as error:
        channel.sendall(wire.pack_refusal(error))


def _shown(
    item: BinaryIO, modality: str, limits: MediaLimits, seconds: float, first: Segment[Any] | None
) -> bytes:
    """The preview of an item as a message, or why there is none."""
    budget = Budget(time.monotonic() + _PREVIEW_SHARE * seconds, wire.MAX_PAYLOAD_BYTES // 2)
    files = _Kept()
    try:
        item.seek(0)
        registry.by_name(modality).preview(item, limits, files, budget, first)
        return wire.pack_shown(files.ended)
    except (MediaError, MemoryError) as error:
        return wire.pack_refusal(error)


def _closer(channel: socket.socket) -> frozenset[int]:
    """The views that are worth a closer look."""
    count = channel.recv(1, socket.MSG_WAITALL)
    return frozenset(channel.recv(count[0], socket.MSG_WAITALL)) if count[0] else frozenset()


def _show(
    channel: socket.socket,
    media: BinaryIO,
    request: wire.PreviewRequest,
    containers: _Containers,
    seconds: float,
) -> None:
    """Send the files of a preview, as long as the service wants them."""
    if request.patient:
        os.setpriority(os.PRIO_PROCESS, 0, _PATIENT)
    budget = Budget(time.monotonic() + _PREVIEW_SHARE * seconds, request.max_bytes)
    try:
        item = containers.item(media, request)
        item.seek(0)
        registry.by_name(request.modality).preview(item, request.limits, _Sent(channel), budget)
        channel.sendall(wire.pack_ended(wire.Ended(None, Facts())))
    except (MediaError, MemoryError) as error:
        channel.sendall(wire.pack_refusal(error))


class _Kept:
    """Files of a preview that are kept in memory."""

    def __init__(self) -> None:
        self._files: dict[Kind, io.BytesIO] = {}
        self.ended: list[wire.ShownFile] = []

    def begin(self, kind: Kind) -> BinaryIO:
        """See `indexers.previews.Files`."""
        self._files[kind] = io.BytesIO()
        return self._files[kind]

    def end(self, kind: Kind, facts: Facts) -> None:
        """See `indexers.previews.Files`."""
        self.ended.append(wire.ShownFile(kind, facts, self._files.pop(kind).getvalue()))


class _Sent:
    """Files of a preview that are sent while they are written."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._files: dict[Kind, io.BufferedWriter] = {}

    def begin(self, kind: Kind) -> BinaryIO:
        """See `indexers.previews.Files`."""
        self._files[kind] = io.BufferedWriter(_SentFile(self._channel, kind), _PIECE_BYTES)
        return self._files[kind]

    def end(self, kind: Kind, facts: Facts) -> None:
        """See `indexers.previews.Files`."""
        self._files.pop(kind).flush()
        _send(self._channel, wire.pack_ended(wire.Ended(kind, facts)))


class _SentFile(io.RawIOBase):
    """One of them."""

    def __init__(self, channel: socket.socket, kind: Kind) -> None:
        self._channel = channel
        self._kind = kind
        self._at = self._size = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; return where to."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def write(self, piece: "ReadableBuffer") -> int:
        """Send a piece; return how much of it."""
        some = bytes(memoryview(piece)[: wire.MAX_PIECE_BYTES])
        if some:
            _send(self._channel, wire.pack_written(wire.Written(self._kind, self._at, some)))
            self._at += len(some)
            self._size = max(self._size, self._at)
        return len(some)


def _send(channel: socket.socket, message: bytes) -> None:
    """Send a message that is not the last, and wait until the service has taken it.

    Raises:
        ConnectionError: If it wants no more: then there is nothing left to do.
    """
    channel.sendall(message)
    if channel.recv(1) != wire.GO_ON:
        raise ConnectionError("the service has closed the socket")


class _Told:
    """Tells the service now and then how much of a sound or film was read, and takes the time it earns."""

    def __init__(self, channel: socket.socket, limit: confine.TimeLimit, byte_count: int) -> None:
        self.seconds = limit.of(byte_count)
        """That it may take before anything was read."""
        self._channel = channel
        self._limit = limit
        self._byte_count = byte_count
        self._last = time.monotonic()
        self._began = time.process_time()

    def __call__(self, seconds: float) -> None:
        """So much was read."""
        now = time.monotonic()
        if now - self._last >= _TOLD_EVERY:
            self._last = now
            self._channel.sendall(wire.pack_progress(seconds))
            spent = time.process_time() - self._began
            confine.limit_cpu(self._limit.of(self._byte_count, seconds) - spent)


def _untold(_seconds: float) -> None:
    """Where the item has no seconds."""


def _stages(
    media: BinaryIO, request: wire.Request, told: Callable[[float], None], first: list[Segment[Any]]
) -> Generator[wire.ReadMedia, Collection[int] | None, None]:
    """Describe an item stage by stage; sent is which views are worth a closer look, None for all.

    What was decoded first of what is to be shown at once is put into `first`.
    """
    started = _cpu_seconds()
    byte_count = media.seek(0, os.SEEK_END)
    media.seek(0)
    if byte_count <= _IN_MEMORY_BYTES:
        media = demux.InMemory(media)
    sha256 = b""
    if request.place is not None:  # that of the file itself the service takes, whatever is said here
        sha256 = hashlib.file_digest(media, "sha256").digest()  # type: ignore[arg-type] # any binary file is one
    head = demux.head(media)
    modality = registry.by_name(request.modality) if request.modality else registry.detect(head)
    decoding = _cpu_seconds() - started
    decoded = modality.decode(media, request.limits)
    watched = None if request.place is None else Watched(decoded, modality.name)
    lasts = modality.channels[0].scheme.span_unit is SpanUnit.SECOND
    pieces: Iterator[Segment[Any]] = watched or decoded
    if request.show and modality.name in wire.SHOWN_AT_ONCE:
        pieces = _keeping_first(pieces, first)
    segments = _Clocked(pieces, told if lasts else _untold)
    last = len(modality.stages) if request.role is Role.QUERY else 1
    stages = modality.fingerprint(segments, request.role)
    closer: Collection[int] | None = None
    for number in range(1, last + 1):
        fingerprints = stages.send(closer) if isinstance(stages, Generator) else next(stages)
        decoding += segments.seconds
        closer = yield wire.ReadMedia(
            modality=modality.name,
            fingerprints=tuple(fingerprints),
            sha256=sha256,
            byte_count=byte_count,
            decode_seconds=decoding,
            fingerprint_seconds=_cpu_seconds() - started - decoding,
            more=number < last,
            weight=watched.weight if watched else 1.0,
            lost=tuple(segments.lost),
        )
        started, decoding, segments.seconds = _cpu_seconds(), 0.0, 0.0
        segments.lost.clear()


def _keeping_first(items: Iterator[Segment[T]], first: list[Segment[T]]) -> Iterator[Segment[T]]:
    """The items; the first of them is kept."""
    for item in items:
        if not first:
            first.append(item)
        yield item


class _Clocked(Iterator[Segment[T]]):
    """An iterator that measures the CPU seconds that its items take, and notes what they say is lost."""

    def __init__(self, items: Iterator[Segment[T]], told: Callable[[float], None]) -> None:
        self._items = items
        self._told = told
        self.seconds = 0.0
        self.lost: list[tuple[float, float]] = []

    def __next__(self) -> Segment[T]:
        started = _cpu_seconds()
        try:
            item = next(self._items)
            self.lost.extend(item.lost)
            self._told(item.end)
            return item
        finally:
            self.seconds += _cpu_seconds() - started
