"""Puts the service together from its settings, runs it, and takes it apart."""

import asyncio
import fcntl
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from crawler.addresses import read_networks
from indexers import registry
from indexers.errors import ModelError, SnapshotError
from indexers.image import ImageModality
from indexers.networks import UserNetwork
from service.blobs import Blobs, FolderBlobs
from service.catalogue import Catalogue, Folding
from service.errors import FolderInUseError, StartupError
from service.evidence import Bundler, Signer, StampAuthority
from service.imports import Importer
from service.inquiry import Answering
from service.matcher import Matcher
from service.matching.decide import Thresholds
from service.matching.score import Scorer
from service.metrics import Metrics
from service.monitoring import HttpPost, Scheduler, SuspectIndexes, Suspects, Webhooks
from service.previews import PreviewMaker, PreviewReader
from service.review import Desk
from service.review.gauges import Gauges
from service.rpc.access import Gate
from service.rpc.captures import CaptureService
from service.rpc.guard import Guard
from service.rpc.matches import MatchService
from service.rpc.media import MediaReader
from service.rpc.monitoring import MonitorService
from service.rpc.operations import OperationsService
from service.rpc.previews import PreviewService
from service.rpc.reports import ReportService
from service.rpc.review import ReviewService
from service.rpc.server import Server, credentials, is_loopback
from service.rpc.state import StateReader
from service.rpc.uploads import Spooler
from service.rpc.works import WorkService
from service.sandbox import ForkServer, Pool
from service.settings import Settings
from service.store import Store
from service.tracing import NoTracer, OpenTelemetryTracer, Tracer
from service.web.call import Parts
from service.web.server import Certificates, WebServer
from service.web.site import site
from service.web.visits import Visits

_MAX_PORT = 65535

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Running:
    """A service that answers.

    Attributes:
        host: Where it listens.
        port: Where it listens.
        metrics_port: Where its metrics are; None: nowhere.
        web_port: Where its pages are; None: nowhere.
        catalogue: What it knows.
        previews: What people are shown.
        bundler: What is handed over of reports.
    """

    host: str
    port: int
    metrics_port: int | None
    web_port: int | None
    catalogue: Catalogue
    previews: PreviewReader
    bundler: Bundler


def open_store(settings: Settings) -> Store:
    """Open the database that the settings name; make the folder if it is missing.

    Raises:
        StartupError: If it cannot be opened.
    """
    _make_folder(settings.data)
    url = settings.database_url.get_secret_value()
    url = url or f"sqlite:///{settings.data.resolve() / 'copyhound.db'}"
    return Store.open(url, registry.schemes())


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the data folder for this process alone.

    Raises:
        FolderInUseError: If another server holds it.
    """
    _make_folder(folder)
    with _explaining(f"write to the folder {folder}"):
        file = (folder / "lock").open("a+")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise FolderInUseError(
                f"another server (process {holder}) works on {folder}; stop it, or choose another folder"
            ) from error
        with _explaining(f"write to the folder {folder}"):
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        yield


@asynccontextmanager
async def running(settings: Settings, *, forks: ForkServer | None = None) -> AsyncIterator[Running]:
    """Run the service inside; on leaving, finish or refuse what is in flight.

    Args:
        settings: How.
        forks: What starts the worker processes; None: one of its own.

    Raises:
        StartupError: If it cannot start; the message says what to do.
    """
    _check(settings)
    tls = credentials(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    network = await asyncio.to_thread(_network, settings)
    async with AsyncExitStack() as stack:
        if network is not None:
            stack.enter_context(registry.using(ImageModality(network)))
        stack.enter_context(lock_folder(settings.data))
        store = await asyncio.to_thread(open_store, settings)
        stack.push_async_callback(asyncio.to_thread, store.close)
        tracer: Tracer = OpenTelemetryTracer() if settings.otel else NoTracer()
        stack.push_async_callback(asyncio.to_thread, tracer.close)
        metrics = Metrics(tracer)
        gate = Gate(store, allow_anonymous=settings.allow_anonymous)
        server = Server(
            guard=Guard(gate, metrics),
            max_inline_bytes=settings.max_inline_bytes,
            max_concurrent_calls=settings.max_concurrent_calls,
        )
        port = await server.start(settings.listen, tls)
        stack.push_async_callback(server.stop, 0)
        workers = await stack.enter_async_context(_forking(forks))
        new_pool = partial(_pool, settings, network, workers, metrics)
        pool = new_pool(settings.workers)
        metrics.queue.set_function(lambda: pool.waiting)
        folding = _folding(settings)
        catalogue = await asyncio.to_thread(_open_catalogue, store, settings.data / "index", folding, metrics)
        await catalogue.start()
        stack.push_async_callback(catalogue.close)
        await pool.start()
        stack.push_async_callback(pool.close)
        answering = Answering(
            catalogue=catalogue,
            scorer=Scorer.load(),
            thresholds=Thresholds(settings.review_threshold, settings.action_threshold),
            max_candidates=settings.max_candidates,
            metrics=metrics,
        )
        matcher = Matcher(answering, pool)
        stack.push_async_callback(matcher.close)
        previews = _previews(settings, catalogue, pool, partial(new_pool, 1), metrics)
        previews.maker.start()
        stack.push_async_callback(previews.maker.close)
        importer = Importer(
            catalogue=catalogue,
            read=matcher.read,
            previews=previews.maker,
            root=settings.import_root,
            max_bytes=settings.max_media_bytes,
            parallel=_parallel(settings),
        )
        await importer.start()
        stack.push_async_callback(importer.close)
        bundler = _bundler(settings, catalogue, previews)
        monitoring = await stack.enter_async_context(
            _monitoring(settings, catalogue, matcher, previews.captured, metrics)
        )
        gauges = Gauges(store, metrics)
        gauges.start()
        stack.push_async_callback(gauges.close)
        stack.push_async_callback(server.stop, settings.drain_seconds)
        stack.callback(monitoring.service.stop_watching)
        metrics_port = _serve_metrics(settings, metrics, stack)
        web_port = await stack.enter_async_context(_pages(settings, catalogue, previews.reader, bundler))
        await _serve(server, settings, catalogue, matcher, importer, previews, bundler, monitoring)
        host = settings.listen.rpartition(":")[0]
        log.info("serving", host=host, port=port, sequence=catalogue.sequence)
        yield Running(host, port, metrics_port, web_port, catalogue, previews.reader, bundler)
        log.info("stopping")


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; print the addresses on standard output when healthy.

    Raises:
        StartupError: If it cannot start.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as service:
        sys.stdout.write(f"listening on {service.host}:{service.port}\n")
        if service.web_port is not None:
            sys.stdout.write(f"pages on {_origin(settings, service.web_port)}\n")
        sys.stdout.flush()
        gc.freeze()  # what was imported and loaded stays to the end: collections need not look at it
        await stop.wait()


def _folding(settings: Settings) -> Folding:
    return Folding(
        after_changes=settings.fold_after_changes,
        after_seconds=settings.fold_after_seconds,
        approximate_from=settings.approximate_from,
        float_approximate_from=settings.float_approximate_from,
        response_hours=settings.request_id_hours,
    )


def _network(settings: Settings) -> UserNetwork | None:
    try:
        return None if settings.image_network is None else UserNetwork.read(settings.image_network)
    except ModelError as error:
        raise StartupError(f"image_network: {error}") from error


def _bundler(settings: Settings, catalogue: Catalogue, previews: "_Previews") -> Bundler:
    """What hands reports over."""
    try:
        authority = StampAuthority(settings.timestamp_url) if settings.timestamp_url else None
    except ValueError as error:
        raise StartupError(f"timestamp_url: {error}") from error
    return Bundler(
        catalogue=catalogue,
        desk=Desk(),
        blobs=previews.captured,
        previews=previews.reader,
        signer=Signer.open(settings.data, settings.evidence_key),
        authority=authority,
        scratch=settings.data / "uploads",
    )


def _serve_metrics(settings: Settings, metrics: Metrics, stack: AsyncExitStack) -> int | None:
    """Serve the metrics, if they are to be, until the stack is left; return the port."""
    if not settings.metrics:
        return None
    host, _, number = settings.metrics.rpartition(":")
    with _explaining(f"serve metrics on {settings.metrics}"):
        port, stop = metrics.serve(host, int(number))
    stack.callback(stop)
    return port


@asynccontextmanager
async def _forking(given: ForkServer | None) -> AsyncIterator[ForkServer]:
    """What starts the workers of all pools: what is given, or one that is closed at the end."""
    forks = given or ForkServer()
    try:
        yield forks
    finally:
        if given is None:
            await asyncio.to_thread(forks.close)


def _pool(
    settings: Settings, network: UserNetwork | None, forks: ForkServer, metrics: Metrics, workers: int
) -> Pool:
    """Processes that read media, not started yet."""
    return Pool(
        workers=workers,
        memory_mb=settings.worker_memory_mb,
        seconds=settings.worker_seconds,
        seconds_per_mb=settings.worker_seconds_per_mb,
        seconds_per_hour=settings.worker_seconds_per_hour,
        queue_limit=settings.queue_limit,
        limits=settings.media_limits,
        network=network,
        forks=forks,
        on_death=lambda reason: metrics.deaths.labels(reason).inc(),
    )


def _parallel(settings: Settings) -> int:
    """Media items that one import or batch may have in work: enough to keep all workers busy."""
    return 2 * (settings.workers or os.cpu_count() or 1)


def _make_folder(folder: Path) -> None:
    with _explaining(f"make the folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)


def _blobs(folder: Path) -> Blobs:
    with _explaining(f"use the folder {folder}"):
        return FolderBlobs(folder)


def _open_catalogue(store: Store, folder: Path, folding: Folding, metrics: Metrics) -> Catalogue:
    try:
        with _explaining(f"use the folder {folder}"):
            return Catalogue.open(store, folder, registry.searched(), folding, metrics)
    except SnapshotError as error:
        raise StartupError(str(error)) from error


@contextmanager
def _explaining(step: str) -> Iterator[None]:
    """Turn the system's refusal of a step of the start into one line for people."""
    try:
        yield
    except OSError as error:
        raise StartupError(f"cannot {step}: {error.strerror or error}") from error


def _check(settings: Settings) -> None:
    addresses = (("listen", settings.listen), ("metrics", settings.metrics), ("web", settings.web))
    for name, address in addresses:
        port = address.rpartition(":")[2]
        if address and not (port.isdecimal() and int(port) <= _MAX_PORT):
            raise StartupError(f"{name} must be HOST:PORT with a port of 0 to {_MAX_PORT}, not “{address}”")
    if settings.allow_anonymous and not is_loopback(settings.listen):
        raise StartupError(
            f"allow_anonymous is for loopback addresses alone, not {settings.listen}; "
            "make keys with `copyhound keys create`, or listen on 127.0.0.1"
        )
    _check_web(settings)


def _check_web(settings: Settings) -> None:
    if settings.web and not is_loopback(settings.web):
        if settings.allow_anonymous:
            raise StartupError(
                f"allow_anonymous is for loopback addresses alone, not {settings.web}; "
                "make keys with `copyhound keys create`, or serve the pages on 127.0.0.1"
            )
        if settings.tls_certificate is None:
            raise StartupError(
                f"pages on {settings.web} need TLS: give tls_certificate and tls_key, or serve them on "
                "127.0.0.1 behind a server that has them"
            )
    if settings.web_origin:
        parts = urlsplit(settings.web_origin)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
            raise StartupError(
                f"web_origin must be such as https://hound.example, not “{settings.web_origin}”"
            )


def _origin(settings: Settings, port: int) -> str:
    """Where browsers find the pages."""
    if settings.web_origin:
        return settings.web_origin.rstrip("/")
    scheme = "http" if settings.tls_certificate is None else "https"
    return f"{scheme}://{settings.web.rpartition(':')[0]}:{port}"


@asynccontextmanager
async def _pages(
    settings: Settings, catalogue: Catalogue, previews: PreviewReader, bundler: Bundler
) -> AsyncIterator[int | None]:
    """Serve the investigators' pages, if they are wanted; give their port."""
    if not settings.web:
        yield None
        return
    certificates = None
    if settings.tls_certificate is not None and settings.tls_key is not None:
        certificates = Certificates(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    hosts: tuple[str, ...] = ()
    if settings.web_origin:
        hosts = (urlsplit(settings.web_origin).netloc.lower(),)
    elif is_loopback(settings.web):
        hosts = ("localhost", "127.0.0.1", "[::1]")
    parts = Parts(
        catalogue=catalogue,
        desk=Desk(),
        previews=previews,
        bundler=bundler,
        visits=Visits(
            catalogue.store,
            idle=timedelta(minutes=settings.web_idle_minutes),
            longest=timedelta(hours=settings.web_session_hours),
            allow_anonymous=settings.allow_anonymous,
        ),
        secure=certificates is not None or settings.web_origin.startswith("https:"),
        version=version("copyhound"),
    )
    server = WebServer(site(parts, hosts=hosts), certificates)
    port = server.bind(settings.web)
    await server.start()
    try:
        yield port
    finally:
        await server.stop()


@dataclass(frozen=True, slots=True)
class _Previews:
    """The parts of previews that others need, and where captures are."""

    maker: PreviewMaker
    reader: PreviewReader
    captured: Blobs


def _previews(
    settings: Settings, catalogue: Catalogue, pool: Pool, spare: Callable[[], Pool], metrics: Metrics
) -> _Previews:
    scratch = settings.data / "uploads"
    _make_folder(scratch)
    blobs, captured = _blobs(settings.data / "previews"), _blobs(settings.data / "captures")
    maker = PreviewMaker(
        catalogue=catalogue,
        pool=pool,
        spare=spare,
        blobs=blobs,
        captured=captured,
        scratch=scratch,
        metrics=metrics,
        most_kept_bytes=settings.preview_backlog_mb * 1024 * 1024,
    )
    return _Previews(maker, PreviewReader(catalogue.store, blobs), captured)


@dataclass(frozen=True, slots=True)
class _Monitoring:
    """The parts of monitoring that calls reach."""

    service: MonitorService
    captures: CaptureService


@asynccontextmanager
async def _monitoring(
    settings: Settings, catalogue: Catalogue, matcher: Matcher, blobs: Blobs, metrics: Metrics
) -> AsyncIterator[_Monitoring]:
    """Run what goes on by itself around monitoring lists."""
    scratch = settings.data / "uploads"
    try:
        allowed = read_networks(settings.webhook_networks.split(","))
    except ValueError as error:
        raise StartupError(f"webhook_networks: {error}") from error
    suspects = Suspects(
        catalogue=catalogue,
        matcher=matcher,
        blobs=blobs,
        scratch=scratch,
        near=SuspectIndexes(catalogue.store, settings.data / "index" / "suspects", _folding(settings)),
        parallel=_parallel(settings),
        metrics=metrics,
    )
    scheduler = Scheduler(catalogue, metrics)
    webhooks = Webhooks(catalogue, HttpPost(allowed), metrics)
    captures = CaptureService(
        catalogue=catalogue,
        spooler=Spooler(scratch, settings.max_media_bytes),
        blobs=blobs,
        lease_seconds=settings.lease_seconds,
        captured=suspects.wake,
        metrics=metrics,
    )
    for part in (suspects, scheduler, webhooks):
        part.start()
    try:
        yield _Monitoring(MonitorService(catalogue), captures)
    finally:
        for part in (webhooks, scheduler, suspects):
            await part.close()


async def _serve(  # noqa: PLR0917 - the parts, by name
    server: Server,
    settings: Settings,
    catalogue: Catalogue,
    matcher: Matcher,
    importer: Importer,
    previews: _Previews,
    bundler: Bundler,
    monitoring: _Monitoring,
) -> None:
    """Put the services together, and let the server take calls."""
    media = MediaReader(matcher, settings.max_inline_bytes)
    spooler = Spooler(settings.data / "uploads", settings.max_media_bytes)
    state = StateReader(
        catalogue=catalogue,
        folder=settings.data,
        max_inline_bytes=settings.max_inline_bytes,
        max_media_bytes=settings.max_media_bytes,
        version=version("copyhound"),
        evidence_key=bundler.signer.public_key,
    )
    await server.serve(
        works=WorkService(
            catalogue=catalogue,
            matcher=matcher,
            media=media,
            spooler=spooler,
            importer=importer,
            previews=previews.maker,
            parallel=_parallel(settings),
        ),
        matches=MatchService(
            matcher=matcher,
            store=catalogue.store,
            media=media,
            spooler=spooler,
            state=state,
            parallel=_parallel(settings),
        ),
        operations=OperationsService(catalogue=catalogue, importer=importer),
        monitoring=monitoring.service,
        captures=monitoring.captures,
        reports=ReportService(catalogue.store, bundler),
        previews=PreviewService(catalogue.store, previews.reader),
        review=ReviewService(catalogue, Desk()),
    )
