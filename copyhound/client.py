"""The client for programs without an event loop: `AsyncClient`, driven on a thread of its own."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from copyhound.async_client import AsyncClient
from copyhound.concurrency import LoopThread
from copyhound.imports import Import
from copyhound.transport import Tls
from copyhound.types import ImportRow

P = ParamSpec("P")
T = TypeVar("T")


def _waits(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["Client", P], T]:
    """Make a method of `Client` that waits for the same method of `AsyncClient`."""

    @wraps(method)
    def call(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._thread.run(method(self._client, *args, **kwargs))

    return call


def _iterates(
    method: Callable[Concatenate[AsyncClient, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate["Client", P], Iterator[T]]:
    """Make a method of `Client` that iterates over what the same method of `AsyncClient` yields."""

    @wraps(method)
    def call(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        items = method(self._client, *args, **kwargs)
        try:
            while (found := self._thread.run(_next(items))) is not None:
                yield found[0]
        finally:
            if not self._thread.closed:
                self._thread.run(items.aclose())

    return call


async def _next(items: AsyncGenerator[T, None]) -> tuple[T] | None:
    """Return the next item, or None after the last."""
    async for item in items:
        return (item,)
    return None


class Client:
    """Registers works and asks for copies. Close it, or use it in a ``with`` statement.

    It may be used from several threads. Each method does what the method of the same name of `AsyncClient`
    does, with the same arguments; where that iterates asynchronously, this iterates.
    """

    def __init__(
        self, target: str, *, api_key: str | None = None, tls: Tls | None = None, timeout: float | None = None
    ) -> None:
        """Prepare the connection; the arguments are those of `AsyncClient`."""

        async def make() -> AsyncClient:
            return AsyncClient(target, api_key=api_key, tls=tls, timeout=timeout)

        self._thread = LoopThread()
        try:
            self._client = self._thread.run(make())
        except BaseException:
            self._thread.close()
            raise

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client."""
        self.close()

    def close(self) -> None:
        """Close the connection and end the thread; calls under way are cancelled."""
        if not self._thread.closed:
            self._thread.run(self._client.close())
            self._thread.close()

    register = _waits(AsyncClient.register)
    register_many = _iterates(AsyncClient.register_many)
    add_reference = _waits(AsyncClient.add_reference)
    get_work = _waits(AsyncClient.get_work)
    works = _iterates(AsyncClient.works)
    update_work = _waits(AsyncClient.update_work)
    delete_work = _waits(AsyncClient.delete_work)
    match = _waits(AsyncClient.match)
    match_many = _iterates(AsyncClient.match_many)
    match_fingerprints = _waits(AsyncClient.match_fingerprints)
    match_sha256 = _waits(AsyncClient.match_sha256)
    compare = _waits(AsyncClient.compare)
    index_state = _waits(AsyncClient.index_state)
    create_list = _waits(AsyncClient.create_list)
    get_list = _waits(AsyncClient.get_list)
    lists = _iterates(AsyncClient.lists)
    update_list = _waits(AsyncClient.update_list)
    delete_list = _waits(AsyncClient.delete_list)
    import_items = _waits(AsyncClient.import_items)
    check_items = _waits(AsyncClient.check_items)
    run_list = _waits(AsyncClient.run_list)
    get_run = _waits(AsyncClient.get_run)
    runs = _iterates(AsyncClient.runs)
    cancel_run = _waits(AsyncClient.cancel_run)
    get_report = _waits(AsyncClient.get_report)
    reports = _iterates(AsyncClient.reports)
    watch_reports = _iterates(AsyncClient.watch_reports)
    get_capture = _waits(AsyncClient.get_capture)
    captures = _iterates(AsyncClient.captures)
    export_evidence = _waits(AsyncClient.export_evidence)
    get_preview = _waits(AsyncClient.get_preview)
    read_preview = _iterates(AsyncClient.read_preview)
    lease_next = _waits(AsyncClient.lease_next)
    lease_case = _waits(AsyncClient.lease_case)
    release_case = _waits(AsyncClient.release_case)
    get_case = _waits(AsyncClient.get_case)
    cases = _iterates(AsyncClient.cases)
    case_reports = _iterates(AsyncClient.case_reports)
    decide = _waits(AsyncClient.decide)
    decide_many = _waits(AsyncClient.decide_many)
    undo = _waits(AsyncClient.undo)
    undo_batch = _waits(AsyncClient.undo_batch)
    review_events = _iterates(AsyncClient.review_events)
    assign_case = _waits(AsyncClient.assign_case)
    set_case_due = _waits(AsyncClient.set_case_due)
    comment = _waits(AsyncClient.comment)
    save_view = _waits(AsyncClient.save_view)
    saved_views = _waits(AsyncClient.saved_views)
    delete_view = _waits(AsyncClient.delete_view)
    overview = _waits(AsyncClient.overview)
    precision = _waits(AsyncClient.precision)
    examples = _iterates(AsyncClient.examples)
    flagged = _waits(AsyncClient.flagged)
    suppress = _waits(AsyncClient.suppress)
    unsuppress = _waits(AsyncClient.unsuppress)
    suppressions = _waits(AsyncClient.suppressions)
    reviewers = _waits(AsyncClient.reviewers)

    def import_works(self, rows: Iterable[ImportRow]) -> Import:
        """Start an import of files that lie below the server's import folder, at most 100,000."""
        return Import(self._thread, self._thread.run(self._client.import_works(rows)))

    def get_import(self, name: str) -> Import:
        """Return the handle of an import that was started before, by its operation's name."""
        return Import(self._thread, self._client.get_import(name))
