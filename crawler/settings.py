"""The crawler's settings: typed, described, read from the environment, passed in, never global."""

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class CrawlerSettings(BaseSettings):
    """Every setting. Each is read from ``COPYHOUND_CRAWLER_`` and its name in capitals.

    docs/guides/crawler.md describes them all; a test holds it to this class.
    """

    model_config = SettingsConfigDict(env_prefix="COPYHOUND_CRAWLER_", frozen=True, extra="forbid")

    data: Path
    """Folder of the crawler's state and of captures that wait. Made if it is missing."""
    contact: Annotated[str, MinLen(3)]
    """Who answers for the crawl, an address or URL; it is part of the User-Agent."""
    name: str = ""
    """Name of this crawler, unique for its service. Empty: drawn once, and kept in the data folder."""
    server: str = "localhost:50051"
    """The service that gives runs and takes captures, HOST:PORT."""
    api_key: SecretStr | None = None
    """Key of role crawler. None: anonymous."""

    respect_robots: bool = True
    """Obey robots.txt. Only for sites of one's own may it be off; captures say that it was."""
    throttle: bool = True
    """Adapt the pause between requests to how fast a host answers (Scrapy's AutoThrottle)."""
    delay: Annotated[float, Ge(0)] = 0.5
    """Shortest pause between two requests to a host, in seconds. robots.txt may ask for more."""
    max_delay: Annotated[float, Gt(0)] = 30.0
    """Longest pause, in seconds; a robots.txt that asks for more is given this."""
    concurrency: Annotated[int, Ge(1), Le(256)] = 16
    """Most requests at a time."""
    host_concurrency: Annotated[int, Ge(1), Le(64)] = 2
    """Most requests at a time to one host."""

    host_pages: Annotated[int, Ge(1)] = 20_000
    """Most pages of one host in one run."""
    host_mb: Annotated[float, Gt(0)] = 20_000.0
    """Most MiB from one host in one run."""
    host_hours: Annotated[float, Gt(0)] = 24.0
    """Longest time from the first to the last request to a host in one run, in hours."""
    barren_pages: Annotated[int, Ge(1)] = 60
    """Pages of one shape in a row without anything new after which the rest of that shape is left out."""
    copies_of_content: Annotated[int, Ge(1)] = 20
    """Captures of one content in one list; further places are told of without a capture of their own."""

    timeout: Annotated[float, Gt(0)] = 60.0
    """Longest time of one exchange, in seconds."""
    max_redirects: Annotated[int, Ge(0), Le(50)] = 10
    """Most redirects in a row."""
    attempts: Annotated[int, Ge(1), Le(20)] = 3
    """How often a URL is tried that fails in a way that may pass."""
    retry_seconds: Annotated[float, Gt(0)] = 10.0
    """Pause before the second attempt; it doubles with each further one."""
    max_page_mb: Annotated[float, Gt(0)] = 10.0
    """Largest page, feed, style sheet or playlist, in MiB, unpacked."""
    max_media_mb: Annotated[float, Gt(0)] = 256.0
    """Largest medium, in MiB, unpacked. It passes through memory."""
    max_stream_mb: Annotated[float, Gt(0)] = 64.0
    """How much of an HLS or DASH stream is joined, in MiB."""
    max_stream_seconds: Annotated[float, Gt(0)] = 600.0
    """How much of it, in seconds of playing time."""

    allow_address: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses and CIDR ranges that may be connected to although they are not public; in the
    environment with commas between them. For tests."""
    spool_mb: Annotated[float, Gt(0)] = 4_096.0
    """MiB of captures that wait for the service, from which nothing more is fetched until it takes them."""
    min_free_mb: Annotated[float, Ge(0)] = 512.0
    """Free disk space in MiB below which the crawler stops."""
    poll_seconds: Annotated[float, Gt(0)] = 10.0
    """Pause before asking again for a run, when there was none."""
    report_seconds: Annotated[float, Gt(0)] = 10.0
    """Pause between two reports of progress, which renew the lease."""
    retry_service_seconds: Annotated[float, Gt(0)] = 60.0
    """Longest pause between attempts to reach the service."""
    metrics: str = ""
    """Where Prometheus finds the metrics, HOST:PORT. Empty: nowhere."""
    timestamp_url: str = ""
    """RFC 3161 authority that stamps every capture's seal. Empty: none."""
    browser: Path | None = None
    """Executable of a Chromium that renders pages, scripts and all; needs the extra `browser`. None: none."""
    browser_for: Literal["all", "scripted"] = "all"
    """Which pages: `all`, or those with scripts that show hardly anything without them (`scripted`)."""
    browser_sandbox: bool = True
    """Run it in Chromium's own sandbox. It does not start as root, or where user namespaces are off."""
    browser_pages: Annotated[int, Ge(1), Le(64)] = 4
    """Most pages that are rendered at a time."""
    browser_seconds: Annotated[float, Gt(0)] = 60.0
    """Longest time in which one page is rendered, in seconds; what it asks for waits for its turn in it."""
    browser_requests: Annotated[int, Ge(0)] = 200
    """Most requests of one rendered page."""
    browser_mb: Annotated[float, Gt(0)] = 32.0
    """Most MiB that are fetched for one rendered page."""
    browser_kept_mb: Annotated[float, Ge(0)] = 64.0
    """MiB of answers in memory that pages and media share, so that nothing is fetched twice."""
    capture_pages: bool = False
    """Capture pages too, not only media: for lists of texts, which are copied into pages themselves."""

    @field_validator("allow_address", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        """Take several in one text, with commas between them, as the environment has them."""
        return (
            tuple(one.strip() for one in value.split(",") if one.strip()) if isinstance(value, str) else value
        )
