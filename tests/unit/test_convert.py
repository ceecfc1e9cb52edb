"""What comes in over the wire is bounded and checked, and its errors name the field."""

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import Mock
from uuid import UUID

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from copyhound.v1 import fingerprint_pb2, work_pb2
from indexers import registry
from indexers.image.hashes import PDQ, PHASH, TRANSFORMS
from indexers.modality import MediaLimits, Role
from service.errors import InvalidRequestError
from service.rpc import convert

FRAMES = MediaLimits().max_frames
ID = UUID("0199a5b4-7c3e-7d11-8a2b-3c4d5e6f7a8b")


def prints(count: int = 1, scheme: str = PDQ.id, **changes: Any) -> fingerprint_pb2.Fingerprint:
    """A fingerprint of `count` frames, all different."""
    rows = np.arange(count, dtype="<u8").reshape(count, 1).repeat(32 // 8 if scheme == PDQ.id else 1, axis=1)
    values: dict[str, Any] = {"scheme": scheme, "count": count, "descriptors": rows.tobytes(), **changes}
    return fingerprint_pb2.Fingerprint(**values)


def refused(read: Callable[[], object]) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        read()
    assert len(str(caught.value)) < 400
    return caught.value


def test_a_field_that_the_mask_repeats_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Mock(return_value={"title": "x"})
    monkeypatch.setitem(convert._CHANGES, "title", read)
    assert convert.read_work_change(work_pb2.Work(), ["title"] * 1000).title == "x"
    read.assert_called_once()


@pytest.mark.parametrize(
    ("role", "views"), [(Role.QUERY, len(TRANSFORMS)), (Role.REFERENCE, 1)], ids=["query", "reference"]
)
def test_descriptors_are_bounded_by_views_and_frames(role: Role, views: int) -> None:
    most = views * FRAMES
    assert len(convert.read_fingerprint(prints(most), "f", role)) == most
    assert refused(lambda: convert.read_fingerprint(prints(most + 1), "f", role)).field == "f.count"
    assert refused(lambda: convert.read_fingerprint(prints(0), "f", role)).field == "f.count"


@pytest.mark.parametrize(("role", "last"), [(Role.QUERY, len(TRANSFORMS) - 1), (Role.REFERENCE, 0)])
def test_views_are_those_of_the_modality(role: Role, last: int) -> None:
    assert convert.read_fingerprint(prints(views=bytes([last])), "f", role).views.tolist() == [last]
    wrong = prints(views=bytes([last + 1]))
    assert refused(lambda: convert.read_fingerprint(wrong, "f", role)).field == "f.views"


def test_a_reference_says_nothing_twice() -> None:
    same = prints(2, descriptors=bytes(64))
    assert refused(lambda: convert.read_fingerprint(same, "f", Role.REFERENCE)).field == "f.descriptors"
    assert len(convert.read_fingerprint(same, "f", Role.QUERY)) == 2
    still_scene = prints(2, descriptors=bytes(64), spans=[0, 1, 1, 2])  # two frames that look the same
    assert len(convert.read_fingerprint(still_scene, "f", Role.REFERENCE)) == 2


def test_there_are_no_more_fingerprints_than_schemes() -> None:
    many = fingerprint_pb2.FingerprintSet(fingerprints=[prints(count=0)] * (len(registry.schemes()) + 1))
    error = refused(lambda: convert.read_fingerprints(many, "f", Role.QUERY, None))
    assert error.field == "f.fingerprints"  # and not of the first of them, which is wrong too


def test_fingerprints_are_of_the_modality_that_was_named() -> None:
    both = fingerprint_pb2.FingerprintSet(fingerprints=[prints(), prints(scheme=PHASH.id)])
    assert convert.read_fingerprints(both, "f", Role.QUERY, "image").modality == "image"
    assert "sound" in str(refused(lambda: convert.read_fingerprints(both, "f", Role.QUERY, "sound")))


def test_errors_repeat_only_the_beginning_of_what_was_wrong() -> None:
    long = "x" * 1_000_000
    for read in (
        lambda: convert.read_fingerprint(prints(scheme=long), "f", Role.QUERY),
        lambda: convert.read_work_name(long, "name"),
        lambda: convert.read_reference_name(f"{long}/references/{ID}", "name"),
        lambda: convert.read_reference_name(f"works/{ID}/references/{long}", "name"),
        lambda: convert.read_operation_name(long, "name"),
        lambda: convert.read_work_change(work_pb2.Work(), [long]),
        lambda: convert.read_territories([long], "territories"),
        lambda: convert.read_etag(long, "etag"),
        lambda: convert.read_time(Timestamp(seconds=10**15), "time"),
        lambda: convert.read_new_work(work_pb2.Work(owner="o", labels={long: ""}), "work"),
        lambda: convert.read_new_work(work_pb2.Work(owner="o", labels={"k": long}), "work"),
    ):
        refused(read)


@pytest.mark.parametrize(
    "wrong", [str(ID).upper(), ID.hex, f"{{{ID}}}", f"urn:uuid:{ID}", f" {ID}", f"{ID}\n", "", "x"]
)
def test_a_resource_has_one_name(wrong: str) -> None:
    assert convert.read_work_name(f"works/{ID}", "name") == ID
    assert refused(lambda: convert.read_work_name(f"works/{wrong}", "name")).field == "name"


@pytest.mark.parametrize("wrong", ["1", '"', '""', '"-1"', '"１"', '"²"', '"1', f'"{10**18}"'])  # noqa: RUF001
def test_an_etag_has_ascii_digits(wrong: str) -> None:
    assert convert.read_etag('"17"', "etag") == 17
    assert refused(lambda: convert.read_etag(wrong, "etag")).field == "etag"


def test_texts_hold_no_control_characters() -> None:
    assert convert.read_text("a\tb\r\nc\u00e9", "title", 10) == "a\tb\r\nc\u00e9"
    for character in [*map(chr, set(range(32)) - {9, 10, 13}), "\x7f"]:
        assert refused(partial(convert.read_text, f"a{character}", "title", 10)).field == "title"


@pytest.mark.parametrize("wrong", ["", " \t ", "x" * 129, "a\0b"])
def test_an_owner_has_a_name(wrong: str) -> None:
    assert convert.read_owner("  Ann ", "owner") == "Ann"
    assert refused(lambda: convert.read_owner(wrong, "owner")).field == "owner"


def test_territories_are_no_more_than_there_are() -> None:
    assert convert.read_territories(["FR", "DE", "FR"], "t") == ("FR", "DE")
    assert refused(lambda: convert.read_territories(["FR"] * 251, "t")).field == "t"
