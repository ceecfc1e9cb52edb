r"""What it costs to look for a registered picture among captured ones, by how many were captured.

    python -m benchmarks.speed.bench_registrations --smoke
    python -m benchmarks.speed.bench_registrations --json registrations.json

Captured pictures are rows as the service keeps them: hashes of nine views and five rows of the network,
random but for a hundred kinds of pictures whose rows lie together. One picture is registered, and the
suspects near it are looked for, as happens after every registration. CPU seconds of this process.
"""

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import insert

from indexers import registry
from indexers.fingerprint import Metric, Scheme
from service.catalogue import Folding
from service.monitoring import SuspectIndexes
from service.store import Store
from service.store.schema import SUSPECT_IDS, counters, suspect_fingerprints

_KINDS: Final = 100
_ROWS: Final = {"image.pdq.v1": 9, "image.phash.v1": 9, "image.cnn.v1": 5}
"""Rows of a captured picture, by scheme."""
_AT_ONCE: Final = 1000
_ASKED: Final = 20
_FOLDING: Final = Folding(100_000, 60.0, 4_000_000, 50_000, 1.0)


def _picture(rng: np.random.Generator, scheme: Scheme, rows: int, kind: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if scheme.metric is Metric.COSINE:
        made = kind + rng.normal(0.0, 0.05, (rows, scheme.dim)).astype(np.float32)
        return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)
    return rng.integers(0, 256, (rows, scheme.dim // 8), dtype=np.uint8)


def _rows(rng: np.random.Generator, count: int, kinds: npt.NDArray[Any]) -> Iterator[dict[str, Any]]:
    schemes = registry.searched()
    for number in range(count):
        key = hashlib.sha256(str(number).encode()).digest()
        for scheme, rows in _ROWS.items():
            made = _picture(rng, schemes[scheme], rows, kinds[number % _KINDS])
            yield {
                "scheme_id": scheme,
                "content_sha256": key,
                "descriptor_count": rows,
                "descriptors": made.tobytes(),
                "first_id": (number + 1) * SUSPECT_IDS,
            }


def measure(folder: Path, count: int) -> dict[str, float]:
    """Keep so many captured pictures, then look for registered ones among them."""
    rng = np.random.default_rng(1)
    kinds = rng.normal(0.0, 1.0, (_KINDS, 1, 256)).astype(np.float32)
    kinds /= np.linalg.norm(kinds, axis=2, keepdims=True)
    store = Store.open(f"sqlite:///{folder / 'copyhound.db'}", registry.schemes())
    with store.transaction() as transaction:
        connection = transaction._connection  # noqa: SLF001  in bulk, as no capture arrives
        some: list[dict[str, Any]] = []
        for row in _rows(rng, count, kinds):
            some.append({**row, "scheme_id": store._scheme_ids[row["scheme_id"]]})  # noqa: SLF001
            if len(some) >= _AT_ONCE:
                connection.execute(insert(suspect_fingerprints), some)
                some = []
        if some:
            connection.execute(insert(suspect_fingerprints), some)
        connection.execute(counters.update().values(sequence=count + 1))
    suspects = SuspectIndexes(store, folder / "suspects", _FOLDING)
    begin = time.process_time()
    suspects.refresh(count + 1)
    built = time.process_time() - begin
    begin = time.process_time()
    near = 0
    for number in range(_ASKED):
        found: set[bytes] = set()
        for scheme in _ROWS:
            asked_for = _picture(rng, registry.searched()[scheme], 1, kinds[number])
            found |= suspects.near(registry.channel(scheme), {number: asked_for})
        near += len(found)
    asked = time.process_time() - begin
    begin = time.process_time()
    again = SuspectIndexes(store, folder / "suspects", _FOLDING)
    again.refresh(count + 1)
    loaded = time.process_time() - begin
    store.close()
    return {
        "captured": count,
        "index_built_seconds": round(built, 2),
        "index_loaded_seconds": round(loaded, 2),
        "milliseconds_a_registration": round(1000 * asked / _ASKED, 2),
        "compared_a_registration": near / _ASKED,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few pictures: does it work?")
    parser.add_argument("--json", type=Path, help="where to write the results")
    given = parser.parse_args(arguments)
    results = []
    for count in (300, 1_000) if given.smoke else (1_000, 10_000, 100_000):
        with tempfile.TemporaryDirectory(prefix="copyhound-bench-") as folder:
            results.append(measure(Path(folder), count))
            sys.stdout.write(json.dumps(results[-1]) + "\n")
            sys.stdout.flush()
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
