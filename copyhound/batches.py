"""Small media travel together: a message for each picture would cost more than its hashing."""

import uuid
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from copyhound import convert
from copyhound.errors import LocalFileError
from copyhound.media import LocalMedia
from copyhound.types import NewWork
from copyhound.v1 import fingerprint_pb2, work_pb2

BATCH_ITEMS: Final = 32
"""Most media items in one message."""
BATCH_BYTES: Final = 4 * 1024 * 1024
"""Most media bytes in one message; larger items are streamed one by one."""
BATCHES_AT_ONCE: Final = 4
"""So that the server decodes one batch while the next ones travel; well below its queue limit."""

Item: TypeAlias = tuple[NewWork, LocalMedia | LocalFileError]
"""A work and its media, or why the media cannot be read."""


def new_request_id() -> str:
    """Return an id that makes the repetition of a change safe."""
    return str(uuid.uuid4())


def grouped(works: Iterable[NewWork], limit: int) -> Iterator[list[Item]]:
    """Yield groups of at most `BATCH_ITEMS` works and `limit` bytes, in order.

    What is larger than that, or cannot be read, makes a group of its own.
    """
    group: list[Item] = []
    size = 0
    for new in works:
        try:
            local = LocalMedia.of(new.media, new.filename)
        except LocalFileError as error:
            yield [(new, error)]
            continue
        if local.size > limit:
            yield [(new, local)]
            continue
        if len(group) == BATCH_ITEMS or (group and size + local.size > limit):
            yield group
            group, size = [], 0
        group.append((new, local))
        size += local.size
    if group:
        yield group


def batch_request(group: list[Item]) -> work_pb2.BatchCreateWorksRequest:
    """Read the media of a group into one message.

    Raises:
        LocalFileError: If one of them cannot be read.
        InvalidRequestError: If one of them has a field that cannot be sent.
    """
    requests = []
    for new, local in group:
        if isinstance(local, LocalFileError):
            raise local
        media = fingerprint_pb2.Media(content=local.read(), filename=local.filename)
        work = convert.new_work_to_message(new)
        requests.append(work_pb2.CreateWorkRequest(work=work, media=[media], request_id=new_request_id()))
    return work_pb2.BatchCreateWorksRequest(requests=requests)
