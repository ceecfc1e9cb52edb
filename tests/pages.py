"""Pages on a store without workers: works, reports and previews are put in as tests want them."""

import asyncio
import hashlib
import io
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from uuid import UUID, uuid4

from PIL import Image
from starlette.types import ASGIApp

from indexers.modality import AlignedRegion, AlignedSegment
from indexers.previews import Facts, Kind
from service.blobs import FolderBlobs
from service.catalogue import Catalogue, Folding
from service.domain import KeyRole, Match, Work
from service.evidence import Bundler, Signer
from service.keys import new_key
from service.metrics import Metrics
from service.monitored import Finding, ListSettings, MonitoringList, NewCapture, Run, Seen, Suspect, Watch
from service.previewed import NewPreview, PreviewFile, PreviewState
from service.previews import PreviewReader
from service.review import Desk
from service.reviewed import Actor, Case, CaseFilter, CaseOrder
from service.store import Store, Transaction
from service.tracing import NoTracer
from service.web.call import Parts
from service.web.site import site
from service.web.visits import Visits
from tests.contract.store_values import BITS, SCHEMES, fingerprint, new_reference, new_work

FOLDING = Folding(
    after_changes=1000,
    after_seconds=1000,
    approximate_from=10**9,
    float_approximate_from=10**9,
    response_hours=24,
)
HOSTS = ("127.0.0.1", "localhost", "testserver")
Files = Mapping[Kind, tuple[bytes, Facts]]
"""What a preview consists of."""


@dataclass
class Pages:
    """A store with lists and works, what is found of them, and the pages that show it.

    Attributes:
        app: Answers requests.
        keys: Texts of keys: ``admin``, ``investigator``, ``platform``, and those of owners by their names.
        ids: Their ids.
    """

    catalogue: Catalogue
    blobs: FolderBlobs
    visits: Visits
    app: ASGIApp
    keys: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    lists: dict[str, MonitoringList] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    _number: int = 0

    @property
    def store(self) -> Store:
        """Where everything is."""
        return self.catalogue.store

    def add_key(self, name: str, role: KeyRole, owner: str | None = None, *, person: str = "") -> str:
        """Make a key, of a person; return its text."""
        key, text = new_key(role, owner, 0, 0, person)
        self.store.create_key(key)
        self.keys[name], self.ids[name] = text, key.id
        return text

    def add_list(self, owner: str, title: str) -> MonitoringList:
        """Make a monitoring list of an owner, with a run."""
        with self.store.transaction() as transaction:
            made = transaction.lists.create(owner, ListSettings(title=title), datetime.now(UTC))
            run, _ = transaction.lists.start_run(made.id, datetime.now(UTC), scheduled=False)
        self.lists[owner], self.runs[owner] = made, run
        return made

    def add_work(
        self,
        title: str,
        *,
        owner: str = "studio",
        filename: str = "work.jpg",
        modality: str = "image",
        files: Files | None = None,
        labels: Mapping[str, str] | None = None,
        preview: NewPreview | None = None,
    ) -> Work:
        """Register a work with one reference, and what is shown of it."""
        self._number += 1
        new = replace(new_work(None, owner), title=title, labels=labels or {})
        reference = replace(new_reference(self._number), filename=filename, modality=modality)
        shown = preview or NewPreview(PreviewState.READY, files=self._keep(files or {}))
        with self.store.transaction() as transaction:
            work = transaction.create_work(new, [reference])
            assert work.references is not None
            first = work.references[0]
            self._show(transaction, first.id, modality, shown, work.id)
        return work

    def add_report(
        self,
        work: Work,
        site: str,
        *,
        page: str = "page",
        title: str = "A page",
        media_url: str = "",
        probability: float = 0.97,
        signals: Mapping[str, float] | None = None,
        regions: Sequence[AlignedRegion] = (),
        segments: Sequence[AlignedSegment] = (),
        modality: str = "image",
        files: Files | None = None,
        preview: NewPreview | None = None,
        content: bytes | None = None,
        uploader: str = "",
    ) -> bytes:
        """Find a copy of a work at a site; return the content's SHA-256."""
        self._number += 1
        now = datetime.now(UTC)
        sha256 = content or hashlib.sha256(f"content {self._number}".encode()).digest()
        run = self.runs[work.owner]
        address = f"https://{site}/{page}"
        seen = Seen(sha256, address, title, media_url or f"{address}.jpg", "img", now, uploader)
        assert work.references is not None
        match = Match(
            work,
            work.references[0],
            probability,
            signals or {"pdq_distance": 8.0},
            tuple(segments),
            tuple(regions),
            0.9,
            0.8,
        )
        with self.store.transaction() as transaction:
            if transaction.captures.content(sha256) is None:
                capture = NewCapture(
                    uuid4(), run.id, run.list_id, run.owner, seen, ((0, 25),), sha256, 100, {"crawler": "c"}
                )
                transaction.captures.add(capture, "key", 25, now)
                transaction.captures.set_read(
                    Suspect(sha256, modality, (fingerprint(BITS, self._number),)), (), now
                )
            else:
                transaction.captures.see_again(run.list_id, run.id, seen)
            watch = Watch(sha256, run.list_id, run.owner, ListSettings(), 0)
            finding = Finding((match,), "rules", 1, on_registration=False)
            transaction.reports.record(watch, finding, modality, now)
            self._show(
                transaction,
                sha256,
                modality,
                preview or NewPreview(PreviewState.READY, files=self._keep(files or {})),
            )
        return sha256

    def cases(self, which: CaseFilter | None = None) -> list[Case]:
        """All cases, the newest first."""
        with self.store.view() as view:
            return view.cases.page(which or CaseFilter(), CaseOrder.NEWEST, after=None, limit=10_000)

    def case_of(self, work: Work, site: str) -> Case:
        """The case of a work at a site."""
        (found,) = self.cases(CaseFilter(work_id=work.id, site=site))
        return found

    def case_of_id(self, case_id: UUID) -> Case:
        """A case as it is now."""
        with self.store.view() as view:
            found = view.cases.find(case_id)
        assert found is not None
        return found

    def report_of(self, case: Case) -> UUID:
        """The first report of a case."""
        with self.store.view() as view:
            return view.cases.reports(case.id, after=0, limit=1)[0].report_id

    def end_sessions(self, name: str) -> None:
        """End the sessions of a key, as time would."""
        self.store.end_sessions(self.ids[name])

    def actor(self, name: str) -> Actor:
        """The reviewer that a key is."""
        key = self.store.find_key(self.ids[name])
        assert key is not None
        return Actor(key.id, key.role, key.owner)

    def _keep(self, files: Files) -> tuple[PreviewFile, ...]:
        kept = []
        for kind, (content, facts) in files.items():
            sha256 = hashlib.sha256(content).digest()
            self.blobs.put(sha256, io.BytesIO(content))
            kept.append(PreviewFile(kind, sha256, len(content), facts))
        return tuple(kept)

    @staticmethod
    def _show(
        transaction: Transaction,
        subject: UUID | bytes,
        modality: str,
        preview: NewPreview,
        work_id: UUID | None = None,
    ) -> None:
        now = datetime.now(UTC)
        if isinstance(subject, bytes):
            transaction.previews.ask(subject, modality, now)
            if preview.state is not PreviewState.PENDING:
                transaction.previews.finish(subject, preview, now)
        else:
            assert work_id is not None
            transaction.previews.add(work_id, [(subject, modality, preview)], now, keep=True)


@cache
def _empty_database() -> bytes:
    """A database with all tables: making them is most of what a small test costs."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "copyhound.db"
        Store.open(f"sqlite:///{file}", SCHEMES).close()
        return file.read_bytes()


@asynccontextmanager
async def pages_in(
    folder: Path,
    *,
    allow_anonymous: bool = False,
    idle: timedelta = timedelta(hours=1),
    longest: timedelta = timedelta(hours=12),
    secure: bool = False,
) -> AsyncIterator[Pages]:
    """Make pages on an empty store, with keys and a list of the owners ``studio`` and ``mint``."""
    (folder / "copyhound.db").write_bytes(_empty_database())
    store = await asyncio.to_thread(Store.open, f"sqlite:///{folder / 'copyhound.db'}", SCHEMES)
    catalogue = Catalogue.open(store, folder / "index", SCHEMES, FOLDING, Metrics(NoTracer()))
    await catalogue.start()
    try:
        blobs = FolderBlobs(folder / "previews")
        previews = PreviewReader(store, blobs)
        bundler = Bundler(
            catalogue=catalogue,
            desk=Desk(),
            blobs=FolderBlobs(folder / "captures"),
            previews=previews,
            signer=Signer.open(folder, None),
            authority=None,
            scratch=folder,
        )
        visits = Visits(store, idle=idle, longest=longest, allow_anonymous=allow_anonymous)
        parts = Parts(catalogue, Desk(), previews, bundler, visits, secure, "0")
        made = Pages(catalogue, blobs, visits, site(parts, hosts=HOSTS))
        made.add_key("admin", KeyRole.ADMIN)
        made.add_key("investigator", KeyRole.INVESTIGATOR)
        made.add_key("platform", KeyRole.PLATFORM)
        for owner in ("studio", "mint"):
            made.add_key(owner, KeyRole.OWNER, owner)
            made.add_list(owner, f"List of {owner}")
        yield made
    finally:
        await catalogue.close()
        store.close()


def picture(image: Image.Image) -> Files:
    """A picture's preview: itself, and a small one."""
    small = image.copy()
    small.thumbnail((96, 96))
    return {
        Kind.PICTURE: (_jpeg(image), Facts(image.width, image.height)),
        Kind.THUMBNAIL: (_jpeg(small), Facts(small.width, small.height)),
    }


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=80)
    return file.getvalue()
