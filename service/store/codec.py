"""Between the domain's values and what stands in a row: JSON texts and array bytes."""

import json
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from indexers.errors import FingerprintError
from indexers.fingerprint import Fingerprint, Scheme
from service.domain import Action, Licence, NewWork, Policy

_DEFAULT_POLICY = Policy()
_FLOAT32 = np.dtype("<f4")
_FLOAT64 = np.dtype("<f8")
_SCALES = (1, 1000)
"""Units of a whole and of a thousandth."""
_COUNTABLE = 2.0**53
_COUNTED = struct.Struct("<HqBB")
"""Scale of the spans, start of the first; bytes of a step, and of a length. Scale 0: numbers as they are."""
_STILL = np.array([0.0, 1.0], dtype=_FLOAT64)


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def dump_labels(labels: Mapping[str, str]) -> str | None:
    """Labels as JSON; None for none."""
    return _dump(dict(labels)) if labels else None


def load_labels(text: str | None) -> dict[str, str]:
    """The opposite of `dump_labels`."""
    labels: dict[str, str] = {} if text is None else json.loads(text)
    return labels


def _licence_to_json(licence: Licence) -> dict[str, Any]:
    expires_at = licence.expires_at
    return {
        "uploader_token": licence.uploader_token,
        "territories": licence.territories,
        "expires_at": None if expires_at is None else expires_at.astimezone(UTC).isoformat(),
        "note": licence.note,
    }


def _licence_from_json(value: Mapping[str, Any]) -> Licence:
    expires_at = value["expires_at"]
    return Licence(
        uploader_token=value["uploader_token"],
        territories=tuple(value["territories"]),
        expires_at=None if expires_at is None else datetime.fromisoformat(expires_at),
        note=value["note"],
    )


def dump_policy(policy: Policy) -> str | None:
    """A policy as JSON, times in UTC; None for the default."""
    if policy == _DEFAULT_POLICY:
        return None
    return _dump(
        {
            "action": policy.action.value,
            "min_probability": policy.min_probability,
            "territories": policy.territories,
            "licences": [_licence_to_json(licence) for licence in policy.licences],
        }
    )


def load_policy(text: str | None) -> Policy:
    """The opposite of `dump_policy`."""
    if text is None:
        return _DEFAULT_POLICY
    value = json.loads(text)
    return Policy(
        action=Action(value["action"]),
        min_probability=value["min_probability"],
        territories=tuple(value["territories"]),
        licences=tuple(_licence_from_json(licence) for licence in value["licences"]),
    )


def dump_new_work(work: NewWork) -> str:
    """A work that is still to be registered, as JSON."""
    return _dump(
        {
            "owner": work.owner,
            "external_id": work.external_id,
            "title": work.title,
            "labels": dump_labels(work.labels),
            "policy": dump_policy(work.policy),
        }
    )


def load_new_work(text: str) -> NewWork:
    """The opposite of `dump_new_work`."""
    value = json.loads(text)
    return NewWork(
        owner=value["owner"],
        external_id=value["external_id"],
        title=value["title"],
        labels=load_labels(value["labels"]),
        policy=load_policy(value["policy"]),
    )


def dump_descriptors(fingerprint: Fingerprint) -> bytes:
    """The descriptors, row after row, numbers little-endian."""
    return _dump_array(fingerprint.descriptors, fingerprint.scheme.dtype.newbyteorder("<"))


def load_descriptors(scheme: Scheme, count: int, data: bytes) -> npt.NDArray[Any]:
    """The opposite of `dump_descriptors`: (count, scheme.columns), read-only.

    Raises:
        FingerprintError: If the bytes do not fit: the scheme changed without a new version.
    """
    if len(data) != count * scheme.columns * scheme.dtype.itemsize:
        raise FingerprintError(
            f"{scheme.id}: {len(data)} stored bytes are not {count} descriptors; a scheme that changes "
            "its descriptors needs a new version"
        )
    return _load_array(data, scheme.dtype, (count, scheme.columns))


def dump_spans(spans: npt.NDArray[np.float64]) -> bytes | None:
    """The spans; None where each is [0, 1), as in a still picture.

    Spans that count whole characters or frames, or milliseconds, take the few bytes of their lengths and of
    the steps from one start to the next. All others take 16 bytes each.
    """
    if (spans == _STILL).all():
        return None
    for scale in _SCALES:
        counted = np.rint(spans * scale)
        if np.abs(counted).max() < _COUNTABLE and (counted / scale == spans).all():
            starts, ends = counted.astype(np.int64).T
            steps, lengths = _narrow(np.diff(starts, prepend=starts[0])), _narrow(ends - starts)
            head = _COUNTED.pack(scale, int(starts[0]), steps.itemsize, lengths.itemsize)
            return head + steps.tobytes() + lengths.tobytes()
    return _COUNTED.pack(0, 0, 0, 0) + _dump_array(spans, _FLOAT64)


def _load_spans(data: bytes, count: int) -> npt.NDArray[np.float64]:
    """The opposite of `dump_spans`."""
    scale, first, *sizes = _COUNTED.unpack_from(data)
    body = data[_COUNTED.size :]
    if scale == 0:
        return _load_array(body, np.float64, (count, 2))
    if len(body) != count * sum(sizes):
        raise FingerprintError(f"{len(body)} stored bytes are not {count} spans")
    steps = np.frombuffer(body, f"<i{sizes[0]}", count).astype(np.int64)
    lengths = np.frombuffer(body, f"<i{sizes[1]}", offset=count * sizes[0])
    starts = first + np.cumsum(steps)
    spans: npt.NDArray[np.float64] = np.stack([starts, starts + lengths], axis=1) / scale
    return spans


def _narrow(values: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """The same numbers in as few bytes as they need."""
    largest = max(int(values.max()), -int(values.min()) - 1)
    size = next(size for size in (1, 2, 4, 8) if largest < 1 << (8 * size - 1))
    return values.astype(f"<i{size}")


def dump_quality(quality: npt.NDArray[np.float32]) -> bytes | None:
    """The qualities; None where each is 1."""
    return None if (quality == 1.0).all() else _dump_array(quality, _FLOAT32)


def dump_regions(regions: npt.NDArray[np.float32] | None) -> bytes | None:
    """The regions; None where there are none."""
    return None if regions is None else _dump_array(regions, _FLOAT32)


def load_fingerprint(
    scheme: Scheme,
    count: int,
    *,
    descriptors: bytes,
    spans: bytes | None,
    quality: bytes | None,
    regions: bytes | None,
) -> Fingerprint:
    """A reference's fingerprint from the columns of its row.

    Raises:
        FingerprintError: If the bytes do not fit: the scheme changed without a new version.
    """
    return Fingerprint(
        scheme=scheme,
        descriptors=load_descriptors(scheme, count, descriptors),
        spans=np.tile(_STILL, (count, 1)) if spans is None else _load_spans(spans, count),
        quality=np.ones(count, np.float32) if quality is None else _load_array(quality, np.float32, (count,)),
        views=np.zeros(count, np.uint8),
        regions=None if regions is None else _load_array(regions, np.float32, (count, 4)),
    )


def _dump_array(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> bytes:
    return array.astype(dtype, copy=False).tobytes()


def _load_array(data: bytes, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    stored = np.dtype(dtype).newbyteorder("<")
    return np.frombuffer(data, stored).astype(dtype, copy=False).reshape(shape)
