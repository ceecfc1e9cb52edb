"""Between the domain's values and what stands in a row: JSON texts and array bytes."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from indexers.errors import FingerprintError
from indexers.fingerprint import Fingerprint, Scheme
from indexers.spans import pack, unpack
from service.domain import Action, Licence, NewWork, Policy

_DEFAULT_POLICY = Policy()
_FLOAT32 = np.dtype("<f4")
_FLOAT64 = np.dtype("<f8")
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
            "previews": policy.previews,
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
        previews=value.get("previews", True),
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


def dump_lost(lost: tuple[tuple[float, float], ...]) -> str | None:
    """Stretches that could not be read, as JSON; None for none."""
    return _dump(lost) if lost else None


def load_lost(text: str | None) -> tuple[tuple[float, float], ...]:
    """The opposite of `dump_lost`."""
    return () if text is None else tuple((start, end) for start, end in json.loads(text))


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
    """The spans; None where each is [0, 1), as in a still picture."""
    return None if (spans == _STILL).all() else pack(spans)


def dump_quality(quality: npt.NDArray[np.float32]) -> bytes | None:
    """The qualities; None where each is 1."""
    return None if (quality == 1.0).all() else _dump_array(quality, _FLOAT32)


def dump_regions(regions: npt.NDArray[np.float32] | None) -> bytes | None:
    """The regions; None where there are none."""
    return None if regions is None else _dump_array(regions, _FLOAT32)


def dump_views(views: npt.NDArray[np.uint8]) -> bytes | None:
    """The views; None where each is 0."""
    return None if (views == 0).all() else views.tobytes()


def load_fingerprint(
    scheme: Scheme,
    count: int,
    *,
    descriptors: bytes,
    spans: bytes | None,
    quality: bytes | None,
    regions: bytes | None,
    views: bytes | None = None,
) -> Fingerprint:
    """A fingerprint from the columns of its row; those of references have view 0 alone.

    Raises:
        FingerprintError: If the bytes do not fit: the scheme changed without a new version.
    """
    return Fingerprint(
        scheme=scheme,
        descriptors=load_descriptors(scheme, count, descriptors),
        spans=np.tile(_STILL, (count, 1)) if spans is None else unpack(spans, count),
        quality=np.ones(count, np.float32) if quality is None else _load_array(quality, np.float32, (count,)),
        views=np.zeros(count, np.uint8) if views is None else _load_array(views, np.uint8, (count,)),
        regions=None if regions is None else _load_array(regions, np.float32, (count, 4)),
    )


def _dump_array(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> bytes:
    return array.astype(dtype, copy=False).tobytes()


def _load_array(data: bytes, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    stored = np.dtype(dtype).newbyteorder("<")
    return np.frombuffer(data, stored).astype(dtype, copy=False).reshape(shape)
