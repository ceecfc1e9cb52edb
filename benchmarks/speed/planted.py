"""Large catalogues of random codes, written into the store's tables."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, insert
from uuid_utils.compat import uuid7

from indexers import registry
from indexers.fingerprint import Metric
from indexers.image import background
from indexers.image.embed import CNN
from indexers.modality import Channel
from service.store import Store, schema, writing
from service.store.database import connect

_WORKS_AT_ONCE = 10_000

CHANNELS: tuple[Channel, ...] = tuple(
    channel
    for channel in registry.by_name("image").channels
    if channel.scheme.metric is Metric.HAMMING and channel.search
)
"""The hashes of pictures."""


def plant(folder: Path, count: int, *, embedded: bool = False) -> None:
    """Fill an empty data folder with that many works of one reference each, known by fingerprints alone.

    Each reference has one random code for each hash of pictures, and if `embedded` a CNN descriptor too,
    drawn around those of real pictures. The rows are those that
    `Transaction.create_work` writes, a change for each work, but they are written ten thousand works at a
    time: one by one takes ten times as long. The folder has no snapshots: the first service that starts on
    it replays every change.
    """
    folder.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{folder.resolve() / 'copyhound.db'}"
    Store.open(url, registry.schemes()).close()  # makes the tables
    database = connect(url)
    generator = np.random.default_rng(7)
    try:
        for start in range(0, count, _WORKS_AT_ONCE):
            some = range(start, min(start + _WORKS_AT_ONCE, count))
            with database.writer.begin() as connection:
                _insert(connection, some, generator, embedded=embedded)
    finally:
        database.dispose()


def random_codes(generator: np.random.Generator, channel: Channel, count: int) -> npt.NDArray[Any]:
    """Uniformly random descriptors of a Hamming scheme."""
    columns = channel.scheme.columns
    return np.frombuffer(generator.bytes(count * columns), np.uint8).reshape(count, columns).copy()


def random_descriptors(generator: np.random.Generator, count: int) -> npt.NDArray[np.float32]:
    """CNN descriptors, each between those of two pictures of the background, nearer to one, and off both."""
    real = background.load().descriptors
    one, other = real[generator.integers(0, len(real), (2, count))]
    noise = generator.normal(0.0, 0.5 / np.sqrt(real.shape[1]), one.shape)
    drawn = one + 0.5 * other + noise
    rows: npt.NDArray[np.float32] = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return rows


def _insert(
    connection: Connection, numbers: range, generator: np.random.Generator, *, embedded: bool
) -> None:
    now = datetime.now(UTC)
    works = {uuid7(): number for number in numbers}
    references = {uuid7(): work for work in works}
    common = {"created_at": now, "reference_count": 1, "revision": 1, "updated_at": now}
    connection.execute(
        insert(schema.works),
        [
            {
                **common,
                "id": work,
                "owner": "benchmark",
                "external_id": f"planted-{number}",
                "title": "",
                "sequence": number + 1,
            }
            for work, number in works.items()
        ],
    )
    connection.execute(
        insert(schema.work_references),
        [
            {
                "id": reference,
                "work_id": work,
                "filename": "",
                "modality": "image",
                "byte_count": 0,
                "created_at": now,
                "sequence": works[work] + 1,
            }
            for reference, work in references.items()
        ],
    )
    rows = writing.scheme_rows(connection)
    drawn = {channel.scheme.id: random_codes(generator, channel, len(numbers)) for channel in CHANNELS}
    if embedded:
        drawn[CNN.id] = random_descriptors(generator, len(numbers))
    for scheme, codes in drawn.items():
        connection.execute(
            insert(schema.fingerprints),
            [
                {
                    "scheme_id": rows[scheme].id,
                    "first_id": number,
                    "count": 1,
                    "reference_id": reference,
                    "sequence": number + 1,
                    "descriptors": code.tobytes(),
                }
                for number, reference, code in zip(numbers, references, codes, strict=True)
            ],
        )
    writing.set_next_ids(connection, dict.fromkeys(drawn, numbers.stop))
    writing.set_counters(connection, numbers.stop, numbers.stop, numbers.stop)
