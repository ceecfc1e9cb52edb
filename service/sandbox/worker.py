"""The process that reads untrusted media: ``python -m service.sandbox.worker MEMORY_MB SECONDS``.

Standard input is a Unix socket to the service. Each request comes with a file descriptor, is answered with
one message (`wire`), and the next is read. The process ends when the service closes the socket. Anything
unexpected ends it too: the service reports that as a crash and starts another.
"""

import hashlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from io import BufferedReader
from typing import TypeVar

from pi_heif import options as heif_options
from PIL import AvifImagePlugin, Image

from indexers import registry
from indexers.errors import MediaError
from service.sandbox import confine, wire

T = TypeVar("T")

_HEAD_BYTES = 4096


def main(arguments: list[str]) -> None:
    """Serve until the socket is closed.

    Args:
        arguments: Address space above the start, in MiB; CPU seconds for one item.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the service, which ends its workers itself
        signal.signal(number, signal.SIG_IGN)
    memory_mb, seconds = int(arguments[0]), float(arguments[1])
    channel = socket.socket(fileno=0)
    _warm_up()
    confine.confine(memory_bytes=memory_mb * 1024 * 1024)
    channel.sendall(wire.READY)
    while (received := _receive(channel)) is not None:
        request, descriptor = received
        confine.limit_cpu(seconds)
        with os.fdopen(descriptor, "rb") as media:
            answer = _answer(media, request)
        channel.sendall(answer)


def _warm_up() -> None:
    """Make the first item as fast as the others, and keep decoders from starting threads."""
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    heif_options.DECODE_THREADS = 1
    Image.init()


def _receive(channel: socket.socket) -> tuple[wire.Request, int] | None:
    """Return the next request and its file; None when the service has closed the socket."""
    prefix, descriptors, _, _ = socket.recv_fds(channel, wire.PREFIX.size, 1)
    if not prefix:
        return None
    length, _ = wire.lengths(prefix)
    return wire.unpack_request(channel.recv(length, socket.MSG_WAITALL)), descriptors[0]


def _answer(media: BufferedReader, request: wire.Request) -> bytes:
    try:
        return wire.pack_media(_read(media, request))
    except (MediaError, MemoryError) as error:
        return wire.pack_refusal(error)


def _read(media: BufferedReader, request: wire.Request) -> wire.ReadMedia:
    started = time.process_time()
    sha256 = hashlib.file_digest(media, "sha256").digest()
    byte_count = media.tell()
    media.seek(0)
    head = media.read(_HEAD_BYTES)
    modality = registry.by_name(request.modality) if request.modality else registry.detect(head)
    reading = time.process_time() - started
    segments = _Clocked(modality.decode(media, request.limits))
    fingerprints = modality.fingerprint(segments, request.role)
    decoding = reading + segments.seconds
    return wire.ReadMedia(
        modality=modality.name,
        fingerprints=tuple(fingerprints),
        sha256=sha256,
        byte_count=byte_count,
        decode_seconds=decoding,
        fingerprint_seconds=time.process_time() - started - decoding,
    )


class _Clocked(Iterator[T]):
    """An iterator that measures the CPU seconds that its items take to make."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self.seconds = 0.0

    def __next__(self) -> T:
        started = time.process_time()
        try:
            return next(self._items)
        finally:
            self.seconds += time.process_time() - started


if __name__ == "__main__":
    main(sys.argv[1:])
