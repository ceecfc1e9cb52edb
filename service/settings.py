"""The service's settings: typed, described, read from the environment, passed in, never global."""

from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from indexers.modality import MediaLimits


class Settings(BaseSettings):
    """Every setting. Each is read from ``COPYHOUND_`` and its name in capitals.

    docs/guides/settings.md describes them all; a test holds it to this class.
    """

    model_config = SettingsConfigDict(env_prefix="COPYHOUND_", frozen=True, extra="forbid")

    data: Path
    """Folder that holds everything: database, snapshots, uploads under way. Made if it is missing."""
    listen: str = "127.0.0.1:50051"
    """Address of the gRPC server. Port 0: any free one, printed on start."""
    metrics: str = ""
    """Address of the Prometheus metrics. Empty: none."""
    web: str = ""
    """Address of the investigators' pages. Empty: none. Not on loopback: needs TLS."""
    web_origin: str = ""
    """How browsers reach the pages where that is not the address itself, such as https://hound.example."""
    database_url: SecretStr = SecretStr("")
    """SQLAlchemy URL of a PostgreSQL database. Empty: SQLite in the data folder."""
    image_network: Path | None = None
    """TOML file of a network that describes pictures in the place of ours. None: ours."""
    import_root: Path | None = None
    """Folder that ImportWorks may read. None: imports are refused."""

    allow_anonymous: bool = False
    """Take requests without a key, with every right. Only on loopback addresses."""
    tls_certificate: Path | None = None
    """PEM file of the server's certificate chain."""
    tls_key: Path | None = None
    """PEM file of its private key."""
    tls_client_ca: Path | None = None
    """PEM file of the authority whose client certificates are asked for (mTLS)."""

    web_idle_minutes: Annotated[float, Gt(0)] = 60.0
    """How long somebody stays signed in to the pages without doing anything."""
    web_session_hours: Annotated[float, Gt(0)] = 12.0
    """How long somebody stays signed in at all."""

    max_concurrent_calls: Annotated[int, Ge(1)] = 512
    """Most calls at a time, of all callers together; more are refused with RESOURCE_EXHAUSTED."""

    workers: Annotated[int, Ge(0)] = 0
    """Processes that read media. 0: one for each core."""
    worker_memory_mb: Annotated[int, Ge(256)] = 2048
    """Address space that reading one media item may take, in MiB, above what a worker starts with."""
    worker_seconds: Annotated[float, Gt(0)] = 30.0
    """Longest time that reading one media item may take, whatever its size."""
    worker_seconds_per_mb: Annotated[float, Ge(0)] = 2.0
    """How much longer it may take for each MiB of its file: hours of sound take minutes."""
    worker_seconds_per_hour: Annotated[float, Ge(0)] = 120.0
    """How much longer it may take for each hour of sound or film read of it: its file may be small."""
    queue_limit: Annotated[int, Ge(1)] = 256
    """Most media items that wait for a worker; more are refused with BUSY."""
    max_pixels: Annotated[int, Gt(0)] = MediaLimits().max_pixels
    """Most pixels of one picture or frame."""
    max_frames: Annotated[int, Gt(0)] = MediaLimits().max_frames
    """Most frames of an animated picture that are looked at."""
    max_seconds: Annotated[float, Gt(0)] = MediaLimits().max_seconds
    """Longest sound or film, in seconds."""
    max_characters: Annotated[int, Gt(0)] = MediaLimits().max_characters
    """Longest text."""
    max_parts: Annotated[int, Gt(0), Le(MediaLimits().max_parts)] = MediaLimits().max_parts
    """Most pictures, sounds and texts in one container."""
    max_unpacked_bytes: Annotated[int, Gt(0)] = MediaLimits().max_unpacked_bytes
    """Most bytes that one container unpacks to."""
    max_inline_bytes: Annotated[int, Gt(0)] = 16 * 1024 * 1024
    """Most media bytes in one message."""
    max_media_bytes: Annotated[int, Gt(0)] = 1024 * 1024 * 1024
    """Most bytes of one streamed media item."""

    preview_backlog_mb: Annotated[int, Ge(0)] = 16_384
    """Most MiB of files that are kept because previews are still to be made of them; beyond that, previews
    are made before a registration is answered. 0: always."""

    review_threshold: Annotated[float, Ge(0), Le(1)] = 0.5
    """Probability from which a match is reported, and asks for review at least."""
    action_threshold: Annotated[float, Ge(0), Le(1)] = 0.9
    """Probability from which a match asks for its work's action, where the work names none."""
    max_candidates: Annotated[int, Ge(1)] = 200
    """Most references that one query is verified against."""

    lease_seconds: Annotated[float, Ge(5)] = 60.0
    """How long a crawler keeps a run without reporting; then another may take it."""
    webhook_networks: str = ""
    """Networks that webhooks may be in although they are not public, such as 10.0.0.0/8, with commas."""

    evidence_key: Path | None = None
    """PEM file of the Ed25519 key that signs exported evidence. None: one in the data folder, made at the
    first start."""
    timestamp_url: str = ""
    """RFC 3161 authority that stamps exported evidence. Empty: none."""

    fold_after_changes: Annotated[int, Ge(1)] = 50_000
    """Descriptors in the delta from which a new snapshot is written."""
    fold_after_seconds: Annotated[float, Gt(0)] = 300.0
    """Age of the oldest change from which a new snapshot is written; bounds how long deleted
    descriptors stay on disk."""
    approximate_from: Annotated[int, Ge(1)] = 4_000_000
    """Descriptors of a Hamming scheme from which the snapshot is searched through tables, and candidates
    are looked for within a narrower radius: 31 bits instead of 64 for PDQ."""
    float_approximate_from: Annotated[int, Ge(1)] = 50_000
    """Descriptors of a float scheme, or rows of sound, from which the snapshot is searched through inverted
    lists, with a recall of about 98 % of the ten nearest floats, and the descriptors stay on disk."""
    request_id_hours: Annotated[float, Ge(24)] = 48.0
    """How long request ids are remembered."""
    drain_seconds: Annotated[float, Ge(0)] = 10.0
    """How long requests in flight may go on after the server was told to stop."""
    otel: bool = False
    """Send OpenTelemetry traces; the exporter reads its own OTEL_ variables. Needs the extra `otel`."""

    @property
    def media_limits(self) -> MediaLimits:
        """Limits of one media item."""
        return MediaLimits(
            max_pixels=self.max_pixels,
            max_frames=self.max_frames,
            max_seconds=self.max_seconds,
            max_characters=self.max_characters,
            max_parts=self.max_parts,
            max_unpacked_bytes=self.max_unpacked_bytes,
        )
