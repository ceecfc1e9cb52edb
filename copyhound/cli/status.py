"""``copyhound status``."""

from copyhound.cli.connection import AsJson, Connection, connects
from copyhound.cli.output import print_json, print_line, print_table


@connects
def status(
    connection: Connection,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what a server holds: works, fingerprints, sequence, lag, disk."""
    with connection.client() as client:
        state = client.index_state()
    if as_json:
        print_json({"server": connection.server, "state": state})
        return
    lag = state.committed_sequence - state.sequence
    print_line(f"server       {connection.server}, version {state.version}")
    print_line(f"works        {state.work_count:,} with {state.reference_count:,} media items")
    print_line(f"sequence     {state.sequence}, {lag} behind the database")
    print_line(f"disk         {_size(state.disk_bytes)}")
    print_line(f"media        up to {_size(state.max_media_bytes)}")
    if state.evidence_key:
        print_line(f"evidence     signed by {_key_id(state.evidence_key)}")
    print_table(
        ("scheme", "descriptors", "in the delta", "deleted", "memory"),
        [
            (
                scheme.scheme,
                f"{scheme.descriptor_count:,}",
                f"{scheme.delta_count:,}",
                f"{scheme.tombstone_count:,}",
                _size(scheme.resident_bytes),
            )
            for scheme in state.schemes
        ],
    )


def _size(count: float) -> str:
    """Bytes in a readable unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"


def _key_id(pem: str) -> str:
    """A name of the key that signs evidence."""
    from copyhound import bundle  # noqa: PLC0415  cryptography is slow to load

    return bundle.key_id(bundle.read_key(pem.encode()))
