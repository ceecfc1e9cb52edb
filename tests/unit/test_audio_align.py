import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from indexers.audio import AudioModality, align
from indexers.audio.chromaprint import CHROMAPRINT, SLOWED, SPED_UP
from indexers.audio.decode import RATE, Sound
from indexers.audio.peaks import PEAKS, SIDE
from indexers.fingerprint import Fingerprint, SpanUnit
from indexers.modality import AlignedSegment, Alignment, Role, Segment, described
from tests.sounds import cut, tune

AUDIO = AudioModality()


def fingerprints(sound: Sound, role: Role) -> tuple[Fingerprint, ...]:
    return described(AUDIO, [Segment(0.0, len(sound) / RATE, sound)], role)


@pytest.fixture(scope="module")
def work() -> tuple[Fingerprint, ...]:
    return fingerprints(tune(1), Role.REFERENCE)


def aligned(query: Sound, work: tuple[Fingerprint, ...]) -> Alignment:
    result = AUDIO.align(fingerprints(query, Role.QUERY), work)
    assert result is not None
    units = set(AUDIO.signal_units)
    # Of silence and of steady tones there are no peaks.
    assert set(result.signals) in (units, units - {"peak_evidence", "peak_count"})
    assert all(np.isfinite(value) for value in result.signals.values())
    return result


def only(alignment: Alignment) -> AlignedSegment:
    (segment,) = alignment.segments
    assert segment.unit is SpanUnit.SECOND
    return segment


def test_an_excerpt_is_located(work: tuple[Fingerprint, ...]) -> None:
    alignment = aligned(cut(tune(1), 20.3, 30.3), work)
    segment = only(alignment)
    assert segment.query == pytest.approx((0, 10), abs=0.15)
    assert segment.work == pytest.approx((20.3, 30.3), abs=0.2)
    assert segment.speed == pytest.approx(1.0, abs=0.02)
    assert segment.pitch_cents == pytest.approx(0, abs=15)
    assert alignment.query_coverage == pytest.approx(1.0, abs=0.03)
    assert alignment.work_coverage == pytest.approx(10 / 60, abs=0.02)
    assert alignment.signals["chromaprint_error"] < 0.1
    assert alignment.signals["chromaprint_evidence"] > align.BITS * align.FLOOR
    assert alignment.signals["peak_evidence"] > align.FLOOR


@pytest.mark.parametrize("tempo", [0.8, 0.95, 1.1, 1.25])
def test_another_tempo_is_found_and_measured(work: tuple[Fingerprint, ...], tempo: float) -> None:
    faster = tune(1, tempo=tempo)
    segment = only(aligned(cut(faster, 20 / tempo, 20 / tempo + 12), work))
    assert segment.speed == pytest.approx(tempo, abs=0.025)
    assert segment.work[0] == pytest.approx(20, abs=0.4)


@pytest.mark.parametrize("cents", [-80.0, -34.0, 34.0, 80.0])
def test_another_pitch_is_found_and_measured(work: tuple[Fingerprint, ...], cents: float) -> None:
    segment = only(aligned(cut(tune(1, cents=cents), 20, 32), work))
    assert segment.pitch_cents == pytest.approx(cents, abs=25)
    assert segment.work[0] == pytest.approx(20, abs=0.3)


@pytest.mark.parametrize(
    ("tempo", "cents"),
    [(1.33, 494.0), (0.72, -569.0), (1.5, 0.0), (0.67, 0.0), (1.0, 350.0), (1.0, -350.0), (1.1, 420.0)],
)
def test_what_was_sped_up_slowed_down_or_tuned_by_much_is_found_and_measured(
    work: tuple[Fingerprint, ...], tempo: float, cents: float
) -> None:
    changed = tune(1, tempo=tempo, cents=cents)
    segment = only(aligned(cut(changed, 20 / tempo, 20 / tempo + 12), work))
    assert segment.speed == pytest.approx(tempo, abs=0.01)
    assert segment.pitch_cents == pytest.approx(cents, abs=10)
    assert segment.query == pytest.approx((0, 12), abs=0.8)
    assert segment.work == pytest.approx((20, 20 + 12 * tempo), abs=0.8)


def test_a_stretch_inside_other_sound_is_located(work: tuple[Fingerprint, ...]) -> None:
    query = np.concatenate([cut(tune(2), 0, 9), cut(tune(1), 40, 52), cut(tune(3), 0, 7)])
    alignment = aligned(query, work)
    segment = only(alignment)
    assert segment.query == pytest.approx((9, 21), abs=1.0)
    assert segment.work == pytest.approx((40, 52), abs=1.0)
    assert alignment.query_coverage == pytest.approx(12 / 28, abs=0.08)


def test_several_stretches_are_located(work: tuple[Fingerprint, ...]) -> None:
    query = np.concatenate([cut(tune(1), 45, 55), cut(tune(4), 0, 8), cut(tune(1), 5, 15)])
    first, second = aligned(query, work).segments
    assert first.work == pytest.approx((45, 55), abs=1.0)
    assert second.query == pytest.approx((18, 28), abs=1.0)
    assert second.work == pytest.approx((5, 15), abs=1.0)


def test_parts_of_a_copy_that_are_cut_apart_are_told_apart(work: tuple[Fingerprint, ...]) -> None:
    parts = [(20.0, 22.0), (22.4, 24.4), (24.9, 26.9), (27.3, 29.3), (29.8, 31.8)]
    alignment = aligned(np.concatenate([cut(tune(1), *part) for part in parts]), work)
    assert alignment.query_coverage > 0.6
    assert alignment.signals["peak_evidence"] > 100
    for segment in alignment.segments:
        middle = sum(segment.query) / 2
        true = parts[int(middle // 2)][0] + middle % 2
        assert sum(segment.work) / 2 == pytest.approx(true, abs=0.5)


def test_a_long_copy_is_one_stretch(work: tuple[Fingerprint, ...]) -> None:
    segment = only(aligned(tune(1, tempo=1.03), work))
    assert segment.speed == pytest.approx(1.03, abs=0.003)
    assert segment.query == pytest.approx((0, 60 / 1.03), abs=0.3)


@pytest.mark.parametrize("seed", [11, 12, 13, 14])
def test_another_tune_is_no_copy(work: tuple[Fingerprint, ...], seed: int) -> None:
    alignment = aligned(cut(tune(seed), 10, 22), work)
    assert alignment.segments == ()
    assert alignment.query_coverage == alignment.work_coverage == 0.0
    assert alignment.signals["chromaprint_seconds"] == 0.0


def test_silence_noise_and_tones_are_no_copies_of_one_another() -> None:
    rng = np.random.default_rng(9)
    time = np.arange(12 * RATE) / RATE
    sounds = {
        "silence": np.zeros(len(time)),
        "noise": 0.1 * rng.normal(size=len(time)),
        "other noise": 0.1 * rng.normal(size=len(time)),
        "tone": 0.5 * np.sin(2 * np.pi * 440 * time),
    }
    read = {name: np.asarray(sound, np.float32).clip(-1, 1) for name, sound in sounds.items()}
    for name, query in read.items():
        for other, reference in read.items():
            if name == other == "noise" or name == other == "other noise":
                continue  # the same noise is a copy
            alignment = aligned(query, fingerprints(reference, Role.REFERENCE))
            assert alignment.segments == (), (name, other)


def test_what_is_left_without_the_voice_is_found_by_what_the_sides_differ_by() -> None:
    voice, band = tune(6, 40), tune(7, 40)
    pieces = [Segment(0.0, 10.0, cut(voice, 0, 10))]  # without a band
    pieces += [Segment(10.0, 40.0, np.stack([cut(voice, 10, 40), 0.2 * cut(band, 10, 40)]))]
    work = described(AUDIO, pieces, Role.REFERENCE)
    whole = fingerprints(voice, Role.REFERENCE)
    of_mean = tuple(one for one in work if one.scheme != SIDE)
    assert [one.scheme for one in of_mean] == [one.scheme for one in whole]
    for one, other in zip(of_mean, whole, strict=True):
        assert np.array_equal(one.descriptors, other.descriptors)
    query = cut(band, 20, 30)
    assert aligned(query, of_mean).segments == ()
    alignment = aligned(query, work)
    assert only(alignment).work == pytest.approx((20, 30), abs=0.6)
    assert alignment.signals["peak_evidence"] > 100
    assert aligned(tune(8, 10), work).segments == ()


def test_a_query_is_not_described_by_what_its_sides_differ_by() -> None:
    both = np.stack([tune(6, 10), tune(7, 10)])
    query = described(AUDIO, [Segment(0.0, 10.0, both)], Role.QUERY)
    assert {one.scheme for one in query} == {CHROMAPRINT, PEAKS}


def test_a_first_look_tells_copies_from_others(work: tuple[Fingerprint, ...]) -> None:
    copy = fingerprints(cut(tune(1, tempo=1.05), 20, 28), Role.QUERY)
    assert align.promising(copy, work, [])
    other = fingerprints(cut(tune(7), 20, 28), Role.QUERY)
    assert not align.promising(other, work, [])
    assert not align.glimpse(other, work)
    without_peaks = [one for one in work if one.scheme == CHROMAPRINT]
    assert align.promising(copy, without_peaks, [])  # there is nothing to look at
    assert not align.glimpse(copy, without_peaks)


def test_the_first_look_at_long_sounds_is_where_their_codes_agree(
    work: tuple[Fingerprint, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = fingerprints(cut(tune(1), 5, 30), Role.QUERY)
    assert align.glimpse(copy, work)
    monkeypatch.setattr(align, "_MOST_PEAKS", 1)
    assert not align.glimpse(copy, work)
    assert align.promising(copy, work, [(12.0, 17.5, 0)])
    assert align.promising(copy, work, [(500.0, 20.0, 0), (12.0, 17.5, 0)])
    assert not align.promising(copy, work, [(0.0, 58.0, 0)])
    assert not align.promising(copy, work, [])


def test_other_speeds_are_looked_at_where_codes_for_them_vote(
    work: tuple[Fingerprint, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    sped_up, slowed = (one.views.start for one in (SPED_UP, SLOWED))
    copy = fingerprints(cut(tune(1, tempo=1.3, cents=454), 4, 14), Role.QUERY)
    assert align.promising(copy, work, [(5.0, 11.7, sped_up)])
    assert not align.promising(copy, work, [(5.0, 11.7, slowed), (5.0, 11.7, 0)])
    as_it_is = [replace(one, views=one.views * 0) if one.scheme == CHROMAPRINT else one for one in copy]
    assert not align.promising(as_it_is, work, [(5.0, 11.7, sped_up)])
    monkeypatch.setattr(align, "_MOST_PEAKS", 1)
    assert align.promising(copy, work, [(5.0, 11.7, sped_up)])
    assert not align.promising(copy, work, [(5.0, 58.0, sped_up), (5.0, 11.7, slowed)])


def test_without_a_common_scheme_there_is_no_answer(work: tuple[Fingerprint, ...]) -> None:
    assert AUDIO.align([], work) is None
    assert AUDIO.align(fingerprints(tune(1, 5), Role.QUERY), []) is None


def test_rows_fit_what_the_channels_say() -> None:
    channels = {channel.scheme: channel for channel in AUDIO.channels}
    sound = tune(5, 30)
    for role in Role:
        for fingerprint in fingerprints(sound, role):
            channel = channels[fingerprint.scheme]
            assert len(fingerprint) <= channel.rows_of(role)
            assert fingerprint.views.max() == channel.views_of(role) - 1
    assert len(list(AUDIO.fingerprint([Segment(0.0, 30.0, sound)], Role.QUERY))) == len(AUDIO.stages)
    assert len(list(AUDIO.fingerprint([Segment(0.0, 30.0, sound)], Role.REFERENCE))) == 1


@pytest.mark.parametrize(("role", "count", "most"), [(Role.REFERENCE, 12, 3), (Role.QUERY, 28, 24)])
def test_memory_does_not_grow_with_the_length(role: Role, count: int, most: int) -> None:
    pieces: list[weakref.ref[Sound]] = []
    held = []

    def sound() -> Iterator[Segment[Sound]]:
        for number in range(count):
            piece = np.random.default_rng(number).uniform(-0.1, 0.1, 30 * RATE).astype(np.float32)
            pieces.append(weakref.ref(piece))
            yield Segment(30.0 * number, 30.0 * (number + 1), piece)
            del piece
            held.append(sum(one() is not None for one in pieces))

    described(AUDIO, sound(), role)
    assert max(held) <= most
