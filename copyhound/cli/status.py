"""``copyhound status``."""

from copyhound.cli.connection import (
    DEFAULT_SERVER,
    DEFAULT_TIMEOUT,
    ApiKey,
    AsJson,
    Server,
    Timeout,
    TlsCa,
    TlsCertificate,
    TlsKey,
    UseTls,
    connect,
)
from copyhound.cli.output import print_json, print_line, print_table


def status(
    *,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    use_tls: UseTls = False,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Show what a server holds: works, fingerprints, sequence, lag, disk."""
    with connect(
        server,
        api_key,
        use_tls=use_tls,
        tls_ca=tls_ca,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        timeout=timeout,
    ) as client:
        state = client.index_state()
    if as_json:
        print_json({"server": server, "state": state})
        return
    lag = state.committed_sequence - state.sequence
    print_line(f"server       {server}, version {state.version}")
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
