"""MatchService: asking for copies."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

import structlog
from google.rpc import status_pb2

from copyhound.v1 import match_pb2, match_pb2_grpc
from indexers import containers
from indexers.modality import Role
from service.containers import refuse_closed
from service.domain import CONTAINER, MatchReport
from service.errors import InvalidRequestError
from service.inquiry import Options
from service.matcher import Comparison, Matcher, Query
from service.matching.report import Selection
from service.matching.score import IDENTICAL_FILE
from service.rpc import batches, convert
from service.rpc.access import Caller, current_caller, not_found
from service.rpc.context import Context, deadline_of
from service.rpc.early import EarlyAnswer
from service.rpc.media import MediaReader
from service.rpc.state import StateReader
from service.rpc.uploads import Spooler, Upload, first_message
from service.rpc.works import check_head
from service.store import Store

_COMPARE_PARTS = (
    "is a container of many items: match it, which tells which part corresponds to which reference, and "
    "compare such a pair"
)


class MatchService(match_pb2_grpc.MatchServiceServicer):
    """See proto/copyhound/v1/match.proto, which documents every method."""

    def __init__(
        self,
        *,
        matcher: Matcher,
        store: Store,
        media: MediaReader,
        spooler: Spooler,
        state: StateReader,
        parallel: int,
    ) -> None:
        """Take the parts; have at most `parallel` items of one batch in work at a time."""
        self._matcher = matcher
        self._store = store
        self._media = media
        self._spooler = spooler
        self._state = state
        self._parallel = parallel

    async def Match(self, request: match_pb2.MatchRequest, context: Context) -> match_pb2.MatchResponse:
        """Match one item."""
        if request.WhichOneof("query") == "media":
            self._media.check_size([request.media])
        return await self._match(request, current_caller(), deadline_of(context))

    async def BatchMatch(
        self, request: match_pb2.BatchMatchRequest, context: Context
    ) -> match_pb2.BatchMatchResponse:
        """Match each, or say why not."""
        caller, deadline = current_caller(), deadline_of(context)
        items = request.requests
        batches.admit(items, caller)
        self._media.check_size(item.media for item in items)
        answers = await batches.answer_each(
            items, lambda item: self._match(item, caller, deadline), parallel=self._parallel
        )
        result = match_pb2.BatchMatchResponse.Result
        return match_pb2.BatchMatchResponse(
            results=[
                result(error=answer) if isinstance(answer, status_pb2.Status) else result(response=answer)
                for answer in answers
            ]
        )

    async def MatchStream(
        self, request_iterator: AsyncIterator[match_pb2.MatchStreamRequest], context: Context
    ) -> match_pb2.MatchResponse:
        """Match an item of any size."""
        caller = current_caller()
        header = (await first_message(request_iterator)).header
        convert.read_text(header.filename, "header.filename", 255)
        request_id = _bind_request_id(header.request_id)
        options = self._options(header.options, caller, deadline_of(context))
        modality = convert.read_modality(header.options.modality, "header.options.modality")
        early = EarlyAnswer(lambda media: self._matcher.match_beginning(media, options, modality))
        receiving = asyncio.create_task(
            self._spooler.receive(request_iterator, caller, partial(check_head, modality), early.arrived)
        )
        try:
            either: set[asyncio.Future[Any]] = {receiving, early.found}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not receiving.done():
                return convert.report_message(early.found.result(), request_id)
            upload = receiving.result()
        finally:
            receiving.cancel()
            await early.stop()
        return convert.report_message(await self._match_upload(upload, options, modality), request_id)

    async def CompareMedia(
        self, request: match_pb2.CompareMediaRequest, context: Context
    ) -> match_pb2.CompareMediaResponse:
        """Explain how two items relate."""
        del context
        caller = current_caller()
        modality = convert.read_modality(request.modality, "modality")
        self._media.check_size([request.a.media, request.b.media])
        a, b = await asyncio.gather(
            self._side(request.a, "a", Role.QUERY, modality, caller),
            self._side(request.b, "b", Role.REFERENCE, modality, caller),
        )
        if a.modality != b.modality and {a.modality, b.modality} != _WITH_SOUND:
            raise InvalidRequestError("b", f"is {b.modality}, but a is {a.modality}; compare like with like")
        comparison = await self._matcher.compare(a, b)
        return convert.comparison_message(comparison, _explanation(comparison))

    async def GetIndexState(
        self, request: match_pb2.GetIndexStateRequest, context: Context
    ) -> match_pb2.IndexState:
        """Tell what is indexed."""
        del request, context
        return await asyncio.to_thread(self._state.read)

    async def _match(
        self, request: match_pb2.MatchRequest, caller: Caller, deadline: float | None
    ) -> match_pb2.MatchResponse:
        request_id = _bind_request_id(request.request_id)
        options = self._options(request.options, caller, deadline)
        return convert.report_message(await self._report(request, options, caller), request_id)

    async def _report(self, request: match_pb2.MatchRequest, options: Options, caller: Caller) -> MatchReport:
        modality = convert.read_modality(request.options.modality, "options.modality")
        match request.WhichOneof("query"):
            case "media":
                convert.read_text(request.media.filename, "media.filename", 255)
                upload = await self._media.take(request.media, "media", caller)
                return await self._match_upload(upload, options, modality)
            case "fingerprints":
                query = convert.read_fingerprints(request.fingerprints, "fingerprints", Role.QUERY, modality)
                return await self._matcher.match(query, options)
            case "sha256":
                digest = convert.read_digest(request.sha256, "sha256")
                if digest is not None:
                    return await self._matcher.match(Query(None, (), digest), options)
        raise InvalidRequestError("query", "send media, fingerprints or a sha256")

    async def _match_upload(self, upload: Upload, options: Options, modality: str | None) -> MatchReport:
        with upload.media:
            return await self._matcher.match_media(upload.media, upload.sha256, options, modality)

    def _options(self, message: match_pb2.MatchOptions, caller: Caller, deadline: float | None) -> Options:
        if message.min_sequence < 0:
            raise InvalidRequestError("options.min_sequence", "must not be negative")
        probability = self._matcher.review_threshold
        if message.HasField("min_probability"):
            probability = convert.read_fraction(message.min_probability, "options.min_probability")
        return Options(
            selection=Selection(
                min_probability=probability,
                min_query_coverage=convert.read_fraction(
                    message.min_query_coverage, "options.min_query_coverage"
                ),
                min_work_coverage=convert.read_fraction(
                    message.min_work_coverage, "options.min_work_coverage"
                ),
                page_size=convert.read_page_size(message.page_size, "options.page_size", 10),
            ),
            uploader_token=convert.read_text(message.uploader_token, "options.uploader_token", 255),
            territories=convert.read_territories(message.territories, "options.territories"),
            min_sequence=message.min_sequence,
            owner=caller.owner,
            deadline=deadline,
            fast=message.effort == match_pb2.EFFORT_FAST,
        )

    async def _side(
        self,
        side: match_pb2.CompareSide,
        field: str,
        role: Role,
        modality: str | None,
        caller: Caller,
    ) -> Query:
        match side.WhichOneof("side"):
            case "media":
                convert.read_text(side.media.filename, f"{field}.media.filename", 255)
                modality = _comparable(
                    side.media.content[: containers.HEAD_BYTES], modality, f"{field}.media"
                )
                return Query.of(await self._media.read(side.media, role, modality, f"{field}.media", caller))
            case "fingerprints":
                return convert.read_fingerprints(side.fingerprints, f"{field}.fingerprints", role, modality)
            case "reference":
                query = await asyncio.to_thread(self._registered, side.reference, field, caller)
                convert.check_modality(query, modality, f"{field}.reference")
                return query
        raise InvalidRequestError(field, "send media or fingerprints, or name a reference")

    def _registered(self, name: str, field: str, caller: Caller) -> Query:
        work_id, reference_id = convert.read_reference_name(name, f"{field}.reference")
        reference = self._store.get_references([reference_id]).get(reference_id)
        if reference is not None and reference.modality == CONTAINER and reference.work_id == work_id:
            raise InvalidRequestError(f"{field}.reference", _COMPARE_PARTS)
        work = self._store.get_works([work_id]).get(work_id)
        stored = self._store.fingerprints([reference_id]).get(reference_id)
        if (
            reference is None
            or work is None
            or stored is None
            or reference.work_id != work_id
            or caller.owner not in (None, work.owner)
        ):
            raise not_found("reference", name)
        return Query(reference.modality, stored, reference.sha256)


def _comparable(head: bytes, modality: str | None, field: str) -> str | None:
    """As what kind of media a file is compared; None: it will be detected. Of documents the text is."""
    if modality in (None, CONTAINER):
        refuse_closed(head)
    kind = containers.kind_of(head) if modality in (None, CONTAINER) else None
    if modality is None and kind in containers.DOCUMENTS:
        return "text"
    if kind is not None or modality == CONTAINER:
        raise InvalidRequestError(field, _COMPARE_PARTS)
    return modality


_WITH_SOUND: Final = {"audio", "video"}
"""Kinds of media that are compared with each other: by their sound."""


_PICTURE, _SOUND, _BOTH = "picture", "sound", "picture and sound"
_CONTENTS: Final = {
    frozenset({_BOTH}): "Pictures and sound agree about the place.",
    frozenset({_PICTURE}): "Pictures correspond; the sound is another one, or there is none.",
    frozenset({_SOUND}): "Only the sound corresponds; the pictures are others.",
    frozenset({_PICTURE, _BOTH}): "Pictures correspond, in part with their sound.",
    frozenset(
        {_SOUND, _BOTH}
    ): "Pictures and sound correspond; the sound also where the pictures are others.",
    frozenset({_PICTURE, _SOUND}): "Pictures and sound correspond, but not at the same place.",
    frozenset({_PICTURE, _SOUND, _BOTH}): "Pictures and sound correspond, in part not at the same place.",
}
"""What corresponds of films; see `indexers.modality.AlignedSegment.content`."""


def _bind_request_id(request_id: str) -> str:
    """Check a query's request id and name it in the log."""
    if convert.read_request_id(request_id):
        structlog.contextvars.bind_contextvars(request_id=request_id)
    return request_id


def _explanation(comparison: Comparison) -> list[str]:
    """What the measurements mean, for people."""
    alignment = comparison.alignment
    if alignment is None:
        return list(comparison.notes)
    sentences = [f"The probability that one holds a copy of the other is {comparison.probability:.3f}."]
    if alignment.signals.get(IDENTICAL_FILE):
        sentences.append("The files are identical, byte for byte.")
    transforms = dict.fromkeys(region.transform for region in alignment.regions)
    changed = [name.replace("_", " ") for name in transforms if name != "identity"]
    if changed:
        sentences.append(f"They are nearest when one is changed by: {', '.join(changed)}.")
    contents = {segment.content for segment in alignment.segments if segment.content}
    if contents:
        sentences.append(_CONTENTS[frozenset(contents)])
    return [*sentences, *comparison.notes]
