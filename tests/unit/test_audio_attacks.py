"""Every attack on sound gives what was asked for, and says where it lies in the original."""

import random

import numpy as np
import pytest

from benchmarks.quality.audio_attacks import ALL, COMMON, FAR, OWN, RATE, Hand, Sound

SECONDS = 4


def _chirps(samples: int, seed: int) -> Sound:
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / RATE
    wave = sum(np.sin(2 * np.pi * rng.uniform(200, 3000) * (t + 0.01 * np.sin(t * k))) for k in range(1, 6))
    return np.stack([wave * 0.1, wave * 0.05]).astype(np.float32)


def test_there_are_twenty_seven_common_attacks_and_ten_of_ours() -> None:
    assert (len(COMMON), len(OWN)) == (27, 10)


@pytest.mark.parametrize("name", list(ALL))
def test_an_attack_gives_sound_and_where_it_is_from(name: str) -> None:
    samples = SECONDS * RATE
    hand = Hand(random.Random(3), lambda n: _chirps(n, 1), lambda n: _chirps(n, 2))
    original = _chirps(int(samples * (1.5 if name in FAR else 1.25)) + RATE, 3)
    altered = ALL[name](original, hand, samples)
    assert altered.sound.dtype == np.float32
    assert altered.sound.shape == (2, samples)
    assert 0.01 < np.abs(altered.sound).max() <= 1.2  # lossy codecs overshoot
    for place in altered.places:
        first, last = place.query
        assert 0 <= first < last <= SECONDS
        assert place.work >= 0
        assert place.work + place.speed * (last - first) <= original.shape[1] / RATE
