"""Score normalisation."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexers import models
from indexers.errors import ModelError
from indexers.image import background
from indexers.image.background import NEAREST, Background, normalise
from indexers.image.embed import OnnxEmbedder, unit


def test_similarity_is_the_mean_of_the_nearest() -> None:
    rng = np.random.default_rng(0)
    rows, queries = unit(rng.standard_normal((50, 256))), unit(rng.standard_normal((3, 256)))
    expected = np.sort(queries @ rows.T, axis=1)[:, -NEAREST:].mean(axis=1)
    np.testing.assert_allclose(Background(rows).similarity(queries), expected, rtol=1e-5)


def test_an_unrelated_query_of_a_common_kind_scores_less() -> None:
    similarity = np.array([[0.6], [0.6]], np.float32)
    common, rare = normalise(similarity, np.array([[0.5], [0.1]], np.float32))[:, 0]
    assert common < rare


def test_a_background_has_enough_pictures() -> None:
    with pytest.raises(ModelError, match="too small"):
        Background(unit(np.eye(NEAREST - 1, 256)))


def test_the_shipped_background_separates_copies(photographs: dict[str, bytes]) -> None:
    pictures = [np.asarray(Image.open(BytesIO(data)).convert("RGB")) for data in photographs.values()]
    embedder = OnnxEmbedder()
    references = embedder.embed(pictures)
    queries = embedder.embed([np.ascontiguousarray(picture[:, ::-1]) for picture in pictures])
    scores = normalise(queries @ references.T, background.load().similarity(queries)[:, None])
    copies = np.diag(scores)
    others = scores[~np.eye(len(scores), dtype=bool)]
    assert np.median(copies) > np.quantile(others, 0.99)


def test_a_changed_or_missing_background_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "BACKGROUND", tmp_path / "background.npy")
    with pytest.raises(ModelError, match="cannot be read"):
        background.load()
    models.BACKGROUND.write_bytes(b"changed")
    with pytest.raises(ModelError, match="install the package again"):
        background.load()
