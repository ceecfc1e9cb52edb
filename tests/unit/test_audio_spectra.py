import numpy as np
import pytest

from indexers.audio import spectra


@pytest.mark.parametrize("count", [1, 96, 131])
def test_powers_are_those_of_numpy(count: int) -> None:
    sound = np.random.default_rng(count).standard_normal(2048 + 100 * count).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(sound, 2048)[::100][:count]
    taper = np.hanning(2048).astype(np.float32)
    found = spectra.powers(frames, taper, 3, 1000)
    wanted = np.abs(np.fft.rfft(frames * taper.astype(float))[:, 3:1000]) ** 2
    assert found.shape == (997, count)
    assert found == pytest.approx(wanted.T, rel=1e-4, abs=1e-4)
