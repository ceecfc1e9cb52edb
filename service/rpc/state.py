"""What is indexed, for GetIndexState."""

from pathlib import Path

from copyhound.v1 import match_pb2
from indexers import registry
from service.catalogue import Catalogue
from service.rpc import convert


class StateReader:
    """Looks at catalogue and disk."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        folder: Path,
        max_inline_bytes: int,
        max_media_bytes: int,
        version: str,
        evidence_key: str,
    ) -> None:
        """Take what is told."""
        self._catalogue = catalogue
        self._folder = folder
        self._max_inline_bytes = max_inline_bytes
        self._max_media_bytes = max_media_bytes
        self._version = version
        self._evidence_key = evidence_key

    def read(self) -> match_pb2.IndexState:
        """The state now. Blocking."""
        counts = self._catalogue.store.counts()
        schemes = []
        for scheme in registry.schemes().values():
            state = match_pb2.IndexState.SchemeState(
                scheme=scheme.id,
                modality=convert.modality_code(registry.modality_of(scheme.id).name),
                dim=scheme.dim,
                metric=scheme.metric.value,
                span_unit=scheme.span_unit.value,
            )
            index = self._catalogue.indexes.get(scheme.id)
            if index is not None:
                stats = index.stats()
                state.descriptor_count = stats.descriptors
                state.delta_count = stats.delta
                state.tombstone_count = stats.tombstones
                state.snapshot_sequence = stats.snapshot_sequence
                state.resident_bytes = stats.resident_bytes
            schemes.append(state)
        return match_pb2.IndexState(
            sequence=self._catalogue.sequence,
            committed_sequence=self._catalogue.store.sequence(),
            work_count=counts.works,
            reference_count=counts.references,
            schemes=sorted(schemes, key=lambda state: state.scheme),
            disk_bytes=_size(self._folder),
            max_inline_bytes=self._max_inline_bytes,
            max_media_bytes=self._max_media_bytes,
            version=self._version,
            evidence_key=self._evidence_key,
        )


def _size(folder: Path) -> int:
    """Bytes of the files below a folder; files that vanish meanwhile count nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total
