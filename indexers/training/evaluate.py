"""How well a network finds copies among pictures that it was not trained on, kind of copy by kind.

    python -m indexers.training.evaluate DATA --fonts FONTS --onnx FILE

A third of the held-out pictures are references, a third is background for score normalisation, a third is not
registered. Queries are copies of references, of the kinds of `KINDS` in turn, and the same of the last third.
Given are micro average precision, and recall where 1 % of the last third alarm.
"""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from indexers.fingerprint import Metric, Scheme, SpanUnit
from indexers.image.background import Background, normalise
from indexers.image.decode import Picture
from indexers.image.embed import Embedder, NetworkSpec, OnnxEmbedder
from indexers.training import augment, sources, stickers
from indexers.training.augment import KINDS, Hand
from indexers.training.metrics import Scores
from indexers.training.torch_embedder import PlainEmbedder


@dataclass(frozen=True, slots=True)
class Trial:
    """Pictures to find copies among.

    Attributes:
        references: What is registered.
        background: Unrelated pictures, for score normalisation.
        queries: Copies of references, then copies of pictures that are not registered.
        kinds: What was done to each query.
        sources: Index of each query's reference; -1 where it is not registered.
    """

    references: list[Picture]
    background: list[Picture]
    queries: list[Picture]
    kinds: list[str]
    sources: list[int]


@dataclass(frozen=True, slots=True)
class Result:
    """What an embedder reached: over all queries, and recall of each kind."""

    micro_average_precision: float
    recall: float
    by_kind: Mapping[str, float]


def set_up(files: Sequence[Path], fonts: Path, *, copies: int, seed: int) -> Trial:
    """Draw a trial from files of pictures; each reference and each stranger is copied `copies` times."""
    rng = np.random.default_rng(seed)
    pictures = [augment.decode(np.fromfile(files[index], np.uint8)) for index in rng.permutation(len(files))]
    third = len(pictures) // 3
    references, background, strangers = pictures[:third], pictures[third : 2 * third], pictures[2 * third :]
    hand = Hand(
        rng,
        lambda: augment.fit(background[int(rng.integers(third))], augment.WORK),
        stickers.draw(fonts, rng),
    )
    names = list(KINDS)
    trial = Trial(references, background, [], [], [])
    for group, registered in ((references, True), (strangers, False)):
        for index, picture in enumerate(group):
            for copy in range(copies):
                kind = names[(index * copies + copy) % len(names)]
                trial.queries.append(KINDS[kind](picture, hand))
                trial.kinds.append(kind)
                trial.sources.append(index if registered else -1)
    return trial


def measure(trial: Trial, embedder: Embedder, *, normalised: bool) -> Result:
    """Score all queries of a trial against all references."""
    queries, references = embedder.embed(trial.queries), embedder.embed(trial.references)
    values = queries @ references.T
    if normalised:
        background = Background(embedder.embed(trial.background))
        values = normalise(values, background.similarity(queries)[:, None])
    scores = Scores(values, np.array(trial.sources))
    found = scores.found(scores.threshold())
    kinds = np.array(trial.kinds)[np.array(trial.sources) >= 0]
    by_kind = {kind: float(found[kinds == kind].mean()) for kind in KINDS if (kinds == kind).any()}
    return Result(scores.micro_average_precision(), float(found.mean()), by_kind)


def main() -> None:
    """Compare a network with and without score normalisation, and with its ImageNet features."""
    parser = argparse.ArgumentParser(description="Measure a copy-detection network on held-out pictures.")
    parser.add_argument("data", type=Path, help="folder made by indexers.training.sources")
    parser.add_argument("--fonts", type=Path, required=True)
    parser.add_argument("--onnx", type=Path, required=True)
    parser.add_argument("--pixels", type=int, default=160)
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    trial = set_up(
        sources.read_manifest(given.data, "held_out"), given.fonts, copies=given.copies, seed=given.seed
    )
    digest = hashlib.sha256(given.onnx.read_bytes()).hexdigest()
    scheme = Scheme("image.candidate", 1, 256, Metric.COSINE, SpanUnit.FRAME, digest)
    embedders: dict[str, Embedder] = {
        "trained": OnnxEmbedder(NetworkSpec(scheme, given.onnx, given.pixels)),
        "ImageNet": PlainEmbedder(given.pixels),
    }
    for name, embedder in embedders.items():
        for normalised in (False, True):
            result = measure(trial, embedder, normalised=normalised)
            title = f"{name}, {'normalised' if normalised else 'plain'}"
            print(f"{title}: µAP {result.micro_average_precision:.3f}, recall {result.recall:.3f}")  # noqa: T201
            print("  " + ", ".join(f"{kind} {share:.2f}" for kind, share in result.by_kind.items()))  # noqa: T201


if __name__ == "__main__":
    main()
