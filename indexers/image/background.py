"""Score normalisation: how much more alike two pictures are than the query is to pictures at large.

A picture of a common kind, say a screen of text, is alike to many; its similarities are worth less. SSCD
(https://arxiv.org/abs/2202.10261, section 4.3) subtracts from each similarity the query's mean similarity to
its nearest pictures in a background set of unrelated ones. So one threshold suits all queries.
"""

import hashlib
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexers import models
from indexers.errors import ModelError
from indexers.image.embed import CNN, Descriptors, unit

NEAREST = 5
"""How many of a query's nearest background pictures are averaged."""

WEIGHT = 0.75
"""How much of that average is subtracted. Between 3 and 10 pictures, and 0.5 and 1, little changes."""

Similarities = npt.NDArray[np.float32]


class Background:
    """Descriptors of unrelated pictures, kept in memory."""

    def __init__(self, descriptors: Descriptors) -> None:
        """Keep the descriptors, (n, dim) unit vectors.

        Raises:
            ModelError: If there are fewer than `NEAREST`.
        """
        if len(descriptors) < NEAREST:
            raise ModelError(
                f"a background of {len(descriptors)} pictures is too small: give at least {NEAREST}"
            )
        self._descriptors = np.asarray(descriptors, np.float32)

    @property
    def descriptors(self) -> Descriptors:
        """The descriptors, (n, dim)."""
        return self._descriptors

    def similarity(self, queries: Descriptors) -> Similarities:
        """Average the cosine similarity of each query, (m, dim), to its nearest background pictures; (m,)."""
        similarities = queries @ self._descriptors.T
        nearest = np.partition(similarities, -NEAREST, axis=1)[:, -NEAREST:]
        return np.asarray(nearest.mean(axis=1), np.float32)


def load() -> Background:
    """Load the background that ships with the package, for `indexers.image.embed.CNN`.

    Raises:
        ModelError: If its file cannot be read, or was changed.
    """
    return read(models.BACKGROUND, models.BACKGROUND_SHA256, CNN.dim, "install the package again")


def read(path: Path, sha256: str, dim: int, remedy: str) -> Background:
    """Read a background: a NumPy array (n, dim) of descriptors, which need not have length 1.

    Args:
        path: The file, as `np.save` writes it.
        sha256: Its digest, hex.
        dim: Length of a descriptor.
        remedy: What to do where it cannot be used.

    Raises:
        ModelError: If the file cannot be read, was changed, or holds no such array.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise ModelError(f"{path} has SHA-256 {digest}, not {sha256}: {remedy}")
    try:
        descriptors = np.load(io.BytesIO(data), allow_pickle=False).astype(np.float32)
    except ValueError as error:
        raise ModelError(f"{path} holds no array of numbers ({error}): {remedy}") from error
    if descriptors.ndim != 2 or descriptors.shape[1] != dim or not np.isfinite(descriptors).all():
        raise ModelError(f"{path} must hold finite numbers of shape (n, {dim}): {remedy}")
    return Background(unit(descriptors))


def normalise(similarity: Similarities, background: Similarities) -> Similarities:
    """Subtract what the query has in common with pictures at large.

    Args:
        similarity: Cosine similarities of queries and references.
        background: `Background.similarity` of the same queries; must broadcast to `similarity`.

    Returns:
        Normalised similarities, -2 to 2: about 0 or less for unrelated pictures.
    """
    return similarity - np.float32(WEIGHT) * background
