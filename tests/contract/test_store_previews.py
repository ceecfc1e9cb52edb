"""Previews in the store, on both backends."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from indexers.previews import Facts, Kind
from service.domain import NewReference, NewWork, Policy, Work, WorkChange
from service.previewed import Job, NewPreview, PreviewFile, PreviewSet, PreviewState, Source
from service.store import Store
from tests.contract.store_values import new_reference, new_work, sha256_of

NOW = datetime(2026, 11, 23, tzinfo=UTC)
PICTURE = PreviewFile(Kind.PICTURE, sha256_of(101), 70, Facts(width=1024, height=768))
CLIP = PreviewFile(Kind.CLIP, sha256_of(102), 2**33, Facts(320, 180, 7200.25, 0, whole=False))
READY = NewPreview(PreviewState.READY, files=(PICTURE,))


def shown(seed: int, preview: NewPreview | None) -> NewReference:
    return replace(new_reference(seed), preview=preview)


def registered(store: Store, *references: NewReference, policy: Policy | None = None) -> Work:
    new: NewWork = replace(new_work(), policy=policy or Policy())
    with store.transaction() as transaction:
        return transaction.create_work(new, references)


def found(store: Store, subject: UUID | bytes) -> PreviewSet:
    with store.view() as view:
        return view.previews.find([subject])[subject]


def noted(store: Store) -> set[bytes]:
    with store.view() as view:
        return set(view.previews.erasures(100))


def reference_ids(work: Work) -> list[UUID]:
    assert work.references is not None
    return [reference.id for reference in work.references]


def test_what_there_is_to_show_is_found_and_why_there_is_not(store: Store) -> None:
    failed = NewPreview(PreviewState.FAILED, "MEDIA_TIMEOUT: too slow")
    work = registered(store, shown(1, READY), shown(2, failed), shown(3, None))
    one, two, three = reference_ids(work)
    with store.view() as view:
        every = view.previews.find([one, two, three, uuid4(), b"x" * 32])
    assert [preview.state for preview in every.values()] == [
        PreviewState.READY,
        PreviewState.FAILED,
        PreviewState.ABSENT,
        PreviewState.DELETED,
        PreviewState.DELETED,
    ]
    small = replace(PICTURE, kind=Kind.THUMBNAIL)  # it has none: it is its own
    files = {Kind.PICTURE: PICTURE, Kind.THUMBNAIL: small}
    assert every[one] == PreviewSet(PreviewState.READY, "", "image", files)
    assert every[two].reason == "MEDIA_TIMEOUT: too slow"
    with store.view() as view:
        assert view.previews.in_use([PICTURE.sha256, CLIP.sha256]) == {PICTURE.sha256}


def test_a_preview_is_made_later_of_what_was_kept(store: Store) -> None:
    source = Source(sha256_of(201), 9_000, (3, -1), 55)
    parts = tuple(
        replace(new_reference(seed), preview=NewPreview(PreviewState.PENDING, source=source))
        for seed in (2, 3)
    )
    container = replace(new_reference(1), fingerprints=(), modality="container", parts=parts)
    registered(store, container)
    with store.view() as view:
        jobs = view.previews.pending(9)
        assert view.previews.waiting() == (2, 9_000)
        assert view.previews.in_use([source.sha256]) == {source.sha256}
    assert [(job.modality, job.source) for job in jobs] == [("image", source)] * 2
    first, second = jobs
    with store.transaction() as transaction:
        assert transaction.previews.finish(first.subject, NewPreview(PreviewState.READY, files=(CLIP,)), NOW)
        assert not transaction.previews.finish(first.subject, READY, NOW)
    assert found(store, first.subject).files == {Kind.CLIP: CLIP}
    assert noted(store) == {source.sha256}
    with store.view() as view:
        assert view.previews.in_use([source.sha256]) == {source.sha256}  # the other part still needs it
    with store.transaction() as transaction:
        assert transaction.previews.finish(second.subject, NewPreview(PreviewState.FAILED, "X: y"), NOW)
    with store.view() as view:
        assert view.previews.in_use([source.sha256]) == set()
        assert view.previews.pending(9) == []
    with store.transaction() as transaction:
        transaction.previews.forget_erasures([source.sha256])
    assert noted(store) == set()


def test_deleting_a_work_erases_its_previews_and_no_others(store: Store) -> None:
    source = Source(sha256_of(201), 9_000)
    pending = NewPreview(PreviewState.PENDING, source=source)
    other = registered(store, shown(7, READY))
    work = registered(
        store, shown(1, NewPreview(PreviewState.READY, files=(PICTURE, CLIP))), shown(2, pending)
    )
    with store.transaction() as transaction:
        transaction.delete_work(work.id, revision=None)
    for subject in reference_ids(work):
        assert found(store, subject) == PreviewSet(PreviewState.DELETED)
    assert noted(store) == {PICTURE.sha256, CLIP.sha256, source.sha256}
    with store.view() as view:
        assert view.previews.in_use(noted(store)) == {PICTURE.sha256}
        assert view.previews.pending(9) == []
    assert found(store, reference_ids(other)[0]).state is PreviewState.READY


def test_an_owner_who_wants_none_gets_none(store: Store) -> None:
    work = registered(store, shown(1, READY), policy=Policy(previews=False))
    assert found(store, reference_ids(work)[0]) == PreviewSet(PreviewState.NOT_KEPT, "", "image")

    later = registered(store, shown(2, READY))
    (subject,) = reference_ids(later)
    with store.transaction() as transaction:
        transaction.update_work(later.id, WorkChange(title="x"), revision=None)
    assert found(store, subject).state is PreviewState.READY
    with store.transaction() as transaction:
        transaction.update_work(later.id, WorkChange(policy=Policy(previews=False)), revision=None)
        added, _ = transaction.add_reference(later.id, shown(3, READY))
    assert found(store, subject) == PreviewSet(PreviewState.NOT_KEPT, "", "image")
    assert found(store, added.id).state is PreviewState.NOT_KEPT
    assert noted(store) == {PICTURE.sha256}
    with store.view() as view:
        assert view.get_works([later.id])[later.id].policy == Policy(previews=False)
        assert view.previews.in_use([PICTURE.sha256]) == set()


def test_the_preview_of_a_content_is_asked_for_once(store: Store) -> None:
    content = sha256_of(9)
    for minutes in range(2):
        with store.transaction() as transaction:
            transaction.previews.ask(content, "video", NOW + timedelta(minutes=minutes))
    with store.view() as view:
        assert view.previews.pending(9) == [Job(content, "video", None, NOW)]
        assert view.previews.waiting() == (1, 0)
    with store.transaction() as transaction:
        assert transaction.previews.finish(content, NewPreview(PreviewState.READY, files=(CLIP,)), NOW)
        transaction.previews.ask(content, "video", NOW)
    assert found(store, content) == PreviewSet(PreviewState.READY, "", "video", {Kind.CLIP: CLIP})
    assert noted(store) == set()


@pytest.mark.parametrize("count", [1_203])
def test_many_files_are_let_go_at_once(store: Store, count: int) -> None:
    digests = [sha256_of(seed) for seed in range(count)]
    with store.transaction() as transaction:
        transaction.previews.let_go(digests, NOW)
        transaction.previews.let_go(digests[:5], NOW)
    with store.view() as view:
        assert len(view.previews.erasures(5_000)) == count
        assert view.previews.in_use(digests) == set()
