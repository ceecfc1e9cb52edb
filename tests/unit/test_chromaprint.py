import ctypes
import ctypes.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from indexers.audio import AudioModality, chromaprint
from indexers.audio.chromaprint import CENTS, CHROMAPRINT, CODES, PITCHES, STEP, Codes, Described
from indexers.audio.decode import PIECE_SECONDS, RATE, Sound
from indexers.errors import FingerprintError
from indexers.fingerprint import Fingerprint, joined
from indexers.modality import Role, Segment
from tests.sounds import tune

VECTORS = Path(__file__).parents[1] / "vectors" / "chromaprint_codes.json"


def fixed_pcm(seconds: int = 24) -> npt.NDArray[np.int16]:
    """Chords of saw-tooth waves that change every 0.4 s, in whole numbers: the same on every machine."""
    time = np.arange(seconds * RATE, dtype=np.int64)
    chord = time // (2 * RATE // 5)
    total = np.zeros(len(time), np.int64)
    for voice in range(4):
        step = 600 + (chord * (7919 + 1013 * voice) + 3571 * voice) % 4000
        total += ((time * step) % 65536 - 32768) // 10
    return total.astype(np.int16)


def as_sound(pcm: npt.NDArray[np.int16]) -> Sound:
    return (pcm / 32768).astype(np.float32)


def pieces(sound: Sound, length: int = 30 * RATE) -> list[Segment[Sound]]:
    return [
        Segment(start / RATE, min(start + length, len(sound)) / RATE, sound[start : start + length])
        for start in range(0, len(sound), length)
    ]


def described(sound: Sound, role: Role) -> Fingerprint:
    stages = AudioModality().fingerprint(pieces(sound), role)
    return next(one for one in joined(one for stage in stages for one in stage) if one.scheme == CHROMAPRINT)


def golden() -> Codes:
    return np.array(json.loads(VECTORS.read_text())["codes"], np.uint32)


def library() -> Any:
    name = ctypes.util.find_library("chromaprint")
    if name is None:
        return None
    found = ctypes.CDLL(name)
    found.chromaprint_new.restype = ctypes.c_void_p
    return found


def codes_of_library(found: Any, pcm: npt.NDArray[np.int16]) -> Codes:
    context = ctypes.c_void_p(found.chromaprint_new(1))  # CHROMAPRINT_ALGORITHM_TEST2
    assert found.chromaprint_start(context, RATE, 1)
    assert found.chromaprint_feed(context, pcm.ctypes.data_as(ctypes.c_void_p), len(pcm))
    assert found.chromaprint_finish(context)
    codes, count = ctypes.POINTER(ctypes.c_uint32)(), ctypes.c_int()
    assert found.chromaprint_get_raw_fingerprint(context, ctypes.byref(codes), ctypes.byref(count))
    copied = np.ctypeslib.as_array(codes, (count.value,)).copy()
    found.chromaprint_dealloc(codes)
    found.chromaprint_free(context)
    return copied


def bits_apart(one: Codes, other: Codes) -> int:
    assert one.shape == other.shape
    return int(np.bitwise_count(one ^ other).sum())


def test_codes_are_those_that_the_library_gave() -> None:
    assert bits_apart(chromaprint.codes(as_sound(fixed_pcm())), golden()) <= 1


def test_codes_are_those_of_the_library_where_there_is_one() -> None:
    found = library()
    expected = golden() if found is None else codes_of_library(found, fixed_pcm())
    assert bits_apart(chromaprint.codes(as_sound(fixed_pcm())), expected) <= 1


@pytest.mark.parametrize("length", [1000, 4096, 50_000, 100_001])
def test_the_cut_into_pieces_changes_nothing(length: int) -> None:
    sound = as_sound(fixed_pcm(12))
    streamed = np.concatenate(
        [
            codes
            for codes, _ in chromaprint.stream(sound[at : at + length] for at in range(0, len(sound), length))
        ]
    )
    assert bits_apart(streamed[:, 0], chromaprint.codes(sound)) <= 1


def test_the_whole_of_a_long_sound_is_described() -> None:
    sound = np.tile(as_sound(fixed_pcm(20)), 8)
    fingerprint = described(sound, Role.REFERENCE)
    assert fingerprint.spans[-1, 1] == pytest.approx(160, abs=STEP)


def test_codes_can_be_read_back_from_a_reference() -> None:
    sound = as_sound(fixed_pcm(17))
    fingerprint = described(sound, Role.REFERENCE)
    first, codes = chromaprint.codes_of(fingerprint.descriptors, fingerprint.spans)
    assert first == 0
    assert np.array_equal(codes, chromaprint.codes(sound))
    assert len(fingerprint) == -(-len(codes) // CODES)
    assert not fingerprint.views.any()


@pytest.mark.parametrize("seconds", [10, 70, 320])
def test_the_codes_of_a_query_can_be_read_back_at_each_pitch(seconds: int) -> None:
    sound = np.resize(as_sound(fixed_pcm(10)), seconds * RATE)
    fingerprint = described(sound, Role.QUERY)
    codes = Described.of(chromaprint.stream([sound], PITCHES), range(len(PITCHES))).codes
    for view in range(len(PITCHES)):
        rows = fingerprint.views == view
        first, own = chromaprint.codes_of(fingerprint.descriptors[rows], fingerprint.spans[rows])
        assert first == 0
        assert np.array_equal(own, codes[:, view])


def test_a_long_query_has_rows_as_far_apart_as_a_reference() -> None:
    sound = np.resize(as_sound(fixed_pcm(10)), 320 * RATE)
    rows = chromaprint.as_played(described(sound, Role.QUERY), chromaprint.AS_IT_IS)
    assert len(rows) == len(PITCHES) * len(described(sound, Role.REFERENCE))


@pytest.mark.parametrize("played", [chromaprint.SPED_UP, chromaprint.SLOWED])
def test_a_query_has_the_codes_of_what_it_was_before_its_speed_changed(played: chromaprint.Played) -> None:
    original = tune(3, 30)
    query = tune(3, 30, tempo=played.stretch, cents=1200 * np.log2(played.stretch))
    rows = chromaprint.as_played(described(query, Role.QUERY), played)
    assert rows.spans[:, 1].max() == pytest.approx(30, abs=4 * STEP)
    plain = rows.views == played.views.start
    _, own = chromaprint.codes_of(rows.descriptors[plain], rows.spans[plain])
    assert bits_apart(own, chromaprint.codes(original)[: len(own)]) < 0.05 * 32 * len(own)


def test_of_what_is_too_long_to_be_kept_the_beginning_is_described_at_other_speeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("indexers.audio._KEPT_SECONDS", 20.0)
    rows = described(np.resize(as_sound(fixed_pcm(10)), 320 * RATE), Role.QUERY)
    assert chromaprint.as_played(rows, chromaprint.AS_IT_IS).spans.max() > 300
    assert 20 < rows.spans[rows.views >= chromaprint.SPED_UP.views.start].max() < 30 + PIECE_SECONDS


def test_what_is_too_long_to_be_kept_is_described_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = as_sound(fixed_pcm(40))
    *stages, _ = AudioModality().fingerprint(pieces(sound), Role.QUERY)
    monkeypatch.setattr("indexers.audio._KEPT_SECONDS", 20.0)
    *in_one_pass, _ = AudioModality().fingerprint(pieces(sound), Role.QUERY)
    for stage, same in zip(stages, in_one_pass, strict=True):
        for one, other in zip(stage, same, strict=True):
            assert one.scheme == other.scheme
            assert np.array_equal(one.descriptors, other.descriptors)
            assert np.array_equal(one.spans, other.spans)


def test_a_tuned_sound_has_the_codes_of_the_original_at_the_right_pitch() -> None:
    time = np.arange(12 * RATE) / RATE

    def tuned(cents: float) -> Sound:
        rng = np.random.default_rng(3)
        total = np.zeros(len(time))
        for begin in np.arange(0, 12, 0.5):
            part = (time >= begin) & (time < begin + 0.5)
            for note in rng.integers(45, 90, 4):
                total[part] += np.sin(2 * np.pi * 27.5 * 2 ** ((note - 20.5 + cents / 100) / 12) * time[part])
        return (total / 8).astype(np.float32)

    original = chromaprint.codes(tuned(0))
    codes = np.concatenate([some for some, _ in chromaprint.stream([tuned(50)], PITCHES)])
    errors = {cents: bits_apart(codes[:, view], original) for view, cents in enumerate(PITCHES)}
    assert min(errors, key=errors.__getitem__) == 50
    assert errors[50] < 0.6 * errors[0]


def test_a_short_sound_has_one_row() -> None:
    sound = as_sound(fixed_pcm(1))
    assert len(described(sound, Role.REFERENCE)) == 1
    assert len(described(sound, Role.QUERY)) == len(CENTS)


def test_no_sound_has_no_fingerprint() -> None:
    with pytest.raises(FingerprintError):
        list(AudioModality().fingerprint([], Role.REFERENCE))


def test_what_is_everywhere_alike_has_low_quality() -> None:
    time = np.arange(12 * RATE) / RATE
    rng = np.random.default_rng(5)
    alike = {
        "silence": np.zeros(len(time)),
        "near silence": rng.integers(-1, 2, len(time)) / 32768,
        "tone": 0.5 * np.sin(2 * np.pi * 440 * time),
        "noise": 0.1 * rng.normal(size=len(time)),
        "hum": sum(0.1 * np.sin(2 * np.pi * 50 * n * time) for n in (1, 2, 3, 5)),
    }
    for name, sound in alike.items():
        quality = described(np.asarray(sound, np.float32), Role.REFERENCE).quality
        assert quality.max() < 0.25, name
    assert np.median(described(as_sound(fixed_pcm(12)), Role.REFERENCE).quality) == 1.0
