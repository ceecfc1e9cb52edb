"""Fit the coefficients of the score on development media.

    python -m benchmarks.quality.fit_score --media DIR --media DIR --signals hashes --write
    python -m benchmarks.quality.fit_score --media DIR --write
    python -m benchmarks.quality.fit_score --media SIDE --media SIDE --media VOICES --signals sounds --write
    python -m benchmarks.quality.fit_score --media DIR --signals text --write
    python -m benchmarks.quality.fit_score --media DIR --signals video --per-attack 12 --write

Each run fits the models of one kind and leaves the others as they are: those of hashes alone, which take
thousands of pictures in minutes, those with the CNN, which must not have been trained on the pictures, those
of sounds, for which rows of codes stand for registered pictures (`ROWS`), those of texts, or those of films.

The probability is meant for a candidate of a large catalogue: of `CATALOGUE` registered pictures, and of
queries of which `PRIOR` are copies. A pair at given signals is then a copy with

    P = PRIOR · f₁ / (PRIOR · f₁ + CATALOGUE · f₀)

where f₁ and f₀ are the densities of these signals among copies and among unrelated pairs. Logistic regression
estimates just this if the copies weigh PRIOR together and the unrelated pairs CATALOGUE. Copies are of all
kinds in `attacks`; unrelated pairs are all pairs of queries and references, attacked and framed ones and
pictures that look alike by nature among them. Pictures of one collection have more in common than others: the
same floor, the same program's windows. However large a catalogue is, a picture has a few such relatives, not
a share of it: pairs of one collection count as often as the sample holds them.

Each signal says something between two values alone (`TERMS`): beyond them it counts as the nearer one. Only
pairs in which one of the model's signals says anything are fitted: the others are thousands of times as many,
and would tilt the line where it matters.

Of texts, what is compared with a query are the works that retrieval finds among the books at hand, so a query
stands for all of its pairs: P = PRIOR · f₁ / (PRIOR · f₁ + (1 - PRIOR) · f₀). Unrelated queries are texts of
other books, half of them with lines of registered ones: a quotation is no copy.

Of films, frames are fitted: whether they show one scene, by copies and strangers, and whether that is the
same moment of it (`MOMENT`), by copies and other moments, which weigh more (`OTHERS`). The terms of their
sound are those of sounds, added to them: what pictures and what sound say is independent. A sound that says
nothing takes nothing away, since it may have been replaced.

All weights are kept positive: a term whose weight comes out negative is left out.
"""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from benchmarks.quality import audio_media, audio_pairs, media, pairs, text_pairs, video_pairs
from benchmarks.quality.pairs import Pairs
from service.matching.score import LogisticModel, Size, Term

Span: TypeAlias = tuple[str, float, float]

CATALOGUE: Final = 1e6
"""Registered pictures that a query is compared with."""
PRIOR: Final = 0.1
"""Part of the queries that are copies of one of them."""
PDQ: Final = (("pdq_distance", 64, 36), ("pdq_distance", 36, 0), ("pdq_quality", 0.2, 1))
PHASH: Final = (("phash_distance", 10, 0), ("phash_quality", 0, 1))
CNN: Final = (("cnn_similarity", 0.3, 0.6), ("cnn_similarity", 0.6, 0.95), ("cnn_quality", 0.2, 0.8))
LOCAL: Final = (
    ("local_inliers", 4, 10),
    ("local_spread", 3, 10),
    ("local_spread", 10, 20),
    ("local_agreement", 0.05, 0.45),
    ("local_agreement", 0.45, 0.85),
)
RICH: Final = (
    PDQ + PHASH + CNN + LOCAL,
    PDQ + PHASH + CNN,
    CNN + LOCAL,
    CNN,
    PDQ + PHASH + LOCAL,
    LOCAL,
)
HASHES: Final = (PDQ + PHASH, PDQ, PHASH)
TEXT: Final = (
    (
        ("text_evidence", 2, 15),
        ("text_evidence", 15, 40),
        ("text_places", 10, 18),
        ("text_longest", 160, 300),
    ),
)
CODES: Final = (
    ("chromaprint_evidence", 150, 300),
    ("chromaprint_evidence", 300, 500),
    ("chromaprint_evidence", 500, 900),
)
PEAKS: Final = (("peak_evidence", 10, 35), ("peak_evidence", 35, 100))
SOUNDS: Final = (CODES + PEAKS, CODES[:2])
FRAMES: Final = (
    ("frames_evidence", 0.5, 4),
    ("frames_evidence", 4, 10),
    ("frames_count", 3, 10),
    ("frames_similarity", 0.5, 0.9),
    ("frames_contrast", -0.02, 0.06),
    ("frames_contrast", 0.06, 0.2),
    ("frames_motion", 0.1, 0.4),
)
MOMENT: Final = (
    ("frames_motion", 0.05, 0.2),
    ("frames_motion", 0.2, 0.5),
    ("frames_lead", 0.0, 0.15),
    ("frames_lead", 0.15, 0.4),
    ("frames_contrast", 0.0, 0.06),
    ("frames_contrast", 0.06, 0.2),
    ("frames_change", 0.25, 0.04),
    ("frames_speed", 1.0, 0.0),
    ("frames_similarity", 0.75, 0.95),
)
"""As `TERMS`: whether what looks like a scene of a film is the same moment of it."""
AGREES: Final = Term("frames_motion", 0.5, 0.7, 4.0)
"""What it adds that motion agrees as in no other moment of those fitted, which reach 0.45: set, as it takes
works that show something twice, in which no place leads."""
OTHERS: Final = 2.5
"""What other moments weigh together, where copies weigh one: one that is taken for a copy accuses somebody,
and a copy whose moment is uncertain is looked at by people all the same. Chosen."""
LEAST: Final = 0.05
"""Least probability that it is the same moment: of the pairs for which the terms say less, about that part
are copies."""
TERMS: Final = {"all": RICH, "hashes": HASHES, "sounds": SOUNDS, "text": TEXT, "video": (FRAMES,)}
"""Signal, where it begins to speak for a copy, and where it has said all; for each set of signals that may be
at hand, richest first: features may be missing, and a query may bring fingerprints of one scheme alone."""
MODALITY: Final = {"all": "image", "hashes": "image", "sounds": "audio", "text": "text", "video": "video"}
"""Whose models they are."""
SMALLEST: Final = 1e5
"""Smaller catalogues of pictures count as this large."""
ROWS: Final = 120.0
"""Rows of codes or frames, about a second each, of one registered sound or film: candidates are sounds, a
catalogue counts rows."""
AGREEMENT: Final = Term("sound_agreement", 0.3, 0.9, 3.0)
"""What it adds that sound and pictures tell the same place: set, not fitted, as it takes films with sound."""
SAME_PLACE: Final = Term("sound_agreement", 0.3, 0.9, 11.0)
"""What that adds where the moment is asked for: more than what denies a moment at a usual speed."""
COEFFICIENTS: Final = Path("service/matching/coefficients.json")

_SEED: Final = 1
_STRANGERS: Final = 1_500
"""Texts of each language that hold nothing, and as many again that quote."""
_STRENGTH: Final = 100.0
"""Inverse of the regularisation: little, but for separable samples."""
_MOMENT_STRENGTH: Final = 3.0
"""The same where the moment is asked for: films that were not fitted are told best with that."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What a model does from a probability on.

    Attributes:
        recall: Part of all copies that were made.
        false_pairs: How many unrelated pairs reach it.
        false_per_million: The same, of a million unrelated pairs, by their weights.
    """

    probability: float
    recall: float
    false_pairs: int
    false_per_million: float


def fit(
    sample: Pairs, spans: Sequence[Span], *, catalogue: float, prior: float, strength: float = _STRENGTH
) -> LogisticModel:
    """Fit one model to the pairs that have its signals.

    Args:
        sample: Pairs.
        spans: The model's terms without their weights. One whose weight comes out negative is left out.
        catalogue: Registered pictures to be calibrated for.
        prior: Part of the queries that are copies, 0..1.
        strength: Inverse of the regularisation, > 0.
    """
    columns = progress(sample, spans)
    fitted = np.isfinite(columns).all(axis=1)
    evidence = [number for number, span in enumerate(spans) if not span[0].endswith("_quality")]
    fitted &= (columns[:, evidence] > 0).any(axis=1)
    copies = sample.copies[fitted]
    rivals = np.where(sample.alike[fitted], min(catalogue, sample.references), catalogue)
    weights = np.where(copies, prior, rivals) * sample.weights[fitted]
    weights *= np.count_nonzero(copies) / weights[copies].sum()
    used = list(range(len(spans)))
    while True:
        model = LogisticRegression(C=strength, max_iter=10_000, tol=1e-8)
        model.fit(columns[fitted][:, used], copies, sample_weight=weights)
        found = dict(zip(used, model.coef_[0].tolist(), strict=True))
        wrong = [number for number, weight in found.items() if weight < 0]
        if not wrong:
            break
        used.remove(min(wrong, key=found.__getitem__))
    terms = tuple(Term(*span, round(found.get(number, 0.0), 3)) for number, span in enumerate(spans))
    return LogisticModel(round(float(model.intercept_[0]), 3), terms)


def with_sound(frames: LogisticModel, sounds: Sequence[Mapping[str, Any]]) -> list[LogisticModel]:
    """Models of films with sound and without, richest first, and those of sound alone.

    Args:
        frames: The model of frames, which asks for the moment.
        sounds: Those of sounds, as the coefficients' file has them, richest first.
    """
    if frames.place is None:
        raise ValueError("a model of films asks for the moment: fit `place` too")
    alone = [LogisticModel.read(model) for model in sounds]
    terms = (*frames.terms, AGREEMENT)
    place = replace(frames.place, terms=(*frames.place.terms, SAME_PLACE))
    both = [LogisticModel(frames.intercept, (*terms, *one.terms), place) for one in alone]
    return [*both, LogisticModel(frames.intercept, terms, place), frames, *alone]


def _of_frames(written: Sequence[Mapping[str, Any]]) -> LogisticModel:
    """The model of frames alone, among those of films."""
    models = [LogisticModel.read(model) for model in written]
    of_place = [model for model in models if model.place is not None]
    return min(of_place, key=lambda model: len(model.terms))


def films(sample: video_pairs.Sample, catalogue: float) -> LogisticModel:
    """Fit the models of films without sound: of one scene, and of the same moment of it."""
    scene = fit(sample.scenes, FRAMES, catalogue=catalogue, prior=PRIOR)
    place = fit(sample.moments, MOMENT, catalogue=OTHERS, prior=1.0, strength=_MOMENT_STRENGTH)
    return replace(scene, place=replace(place, terms=(*place.terms, AGREES), least=LEAST))


def progress(sample: Pairs, spans: Sequence[Span]) -> npt.NDArray[np.float64]:
    """How far each term's signal has come, (pairs, terms), 0..1; NaN where there is no such signal."""
    values = sample.signals[:, [sample.columns.index(name) for name, _, _ in spans]]
    starts, ends = (np.array([span[place] for span in spans], np.float64) for place in (1, 2))
    clipped: npt.NDArray[np.float64] = ((values - starts) / (ends - starts)).clip(0.0, 1.0)
    return clipped


def rates(sample: Pairs, model: LogisticModel, thresholds: Sequence[float]) -> list[Rates]:
    """Measure a model on pairs."""
    needed = [sample.columns.index(name) for name in model.signals]
    at_hand = np.all(np.isfinite(sample.signals[:, needed]), axis=1)
    probabilities = np.array(
        [
            model.probability(dict(zip(sample.columns, row, strict=True))) if there else 0.0
            for row, there in zip(sample.signals.tolist(), at_hand.tolist(), strict=True)
        ]
    )
    found = []
    for threshold in thresholds:
        reach = probabilities >= threshold
        recall = float(sample.weights[reach & sample.copies].sum())
        false = float(sample.weights[reach & ~sample.copies].sum())
        found.append(Rates(threshold, recall, int((reach & ~sample.copies).sum()), false * 1e6))
    return found


def document(
    before: Mapping[str, Any],
    signals: str,
    models: Sequence[LogisticModel],
    fitted: Mapping[str, Any],
    *,
    date: str,
    size: Size,
) -> str:
    """The coefficients' file with new models of one kind, what they were fitted on, and for how much.

    Its revision changes when they do.
    """
    kept = {kind: before["fitted"][kind] for kind in TERMS if kind in before["fitted"]}
    values = [_written(model) for model in models]
    if signals == "sounds" and "video" in kept:
        films = with_sound(_of_frames(kept["video"]["models"]), values)
        kept["video"] = kept["video"] | {"models": [_written(model) for model in films]}
    by_kind = {kind: one["models"] for kind, one in kept.items()} | {signals: values}
    every: dict[str, list[Any]] = {}
    for kind in TERMS:
        every.setdefault(MODALITY[kind], []).extend(by_kind.get(kind, ()))
    digest = hashlib.sha256(json.dumps(every).encode()).hexdigest()
    content = {
        "revision": f"{date}-{digest[:8]}",
        "catalogues": before["catalogues"] | {MODALITY[signals]: asdict(size)},
        "prior": PRIOR,
        "fitted": kept | {signals: {**fitted, "models": values}},
        "models": every,
    }
    return json.dumps(content, indent=2) + "\n"


def _written(model: LogisticModel) -> dict[str, Any]:
    values: dict[str, Any] = {
        "intercept": model.intercept,
        "terms": [asdict(term) for term in model.terms],
    }
    if model.least:
        values["least"] = model.least
    return values if model.place is None else values | {"place": _written(model.place)}


def _texts(folders: Sequence[Path], seed: int, per_cell: int) -> tuple[Pairs, dict[str, Any], Size, float]:
    """Pairs of texts, their sources, for how many keys that holds, and what unrelated queries weigh."""
    if not folders:
        raise SystemExit("--signals text wants --media, a folder of zh/*.txt and en/*.txt")
    sample, rows = text_pairs.make(folders, seed, per_cell, _STRANGERS)
    return sample, {"sources": {"books registered": sample.references}}, Size(rows, rows), 1 - PRIOR


def _sounds(folders: Sequence[Path], options: argparse.Namespace) -> tuple[Pairs, dict[str, Any]]:
    """Pairs of sounds, and how many there are of each kind."""
    if len(folders) != 3:
        raise SystemExit("--signals sounds wants --media three times: two folders of origins, one of speech")
    one, other, voices = (audio_media.load([folder]) for folder in folders)
    amounts = audio_media.Amounts(per_attack=options.per_attack, negatives=options.unrelated)
    sample, sources = audio_pairs.make((one, other), voices, amounts, options.seed)
    return sample, {"sources": sources}


def _show_moments(sample: Pairs, model: LogisticModel) -> None:
    for one in rates(sample, model, (0.5, 0.9)):
        others = one.false_pairs / max(1, sample.unrelated)
        print(f"  from {one.probability}: {one.recall:.3f} of the copies, {others:.3f} of other moments")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--media", type=Path, action="append", help="folder of media; may be repeated")
    parser.add_argument("--per-attack", type=int, default=30, help="copies made by each attack")
    parser.add_argument("--unrelated", type=int, default=170, help="excerpts of each length, of sounds")
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--signals", choices=tuple(TERMS), default="all", help="which models to fit")
    parser.add_argument("--cache", type=Path, help="keeps described clips of films: a stopped run goes on")
    parser.add_argument("--write", action="store_true", help=f"put them into {COEFFICIENTS}")
    options = parser.parse_args()
    before = json.loads(COEFFICIENTS.read_text(encoding="utf-8"))
    if options.signals == "text":
        sample, fitted, size, catalogue = _texts(options.media or [], options.seed, options.per_attack)
    elif options.signals == "sounds":
        sample, fitted = _sounds(options.media or [], options)
        size, catalogue = Size(CATALOGUE, SMALLEST), CATALOGUE / ROWS
    elif options.signals == "video":
        found = video_pairs.make(options.media or [], options.seed, options.per_attack, options.cache)
        others = found.moments.unrelated
        sample, fitted = found.scenes, {"sources": {"films": len(found.films), "other moments": others}}
        size, catalogue = Size(CATALOGUE, SMALLEST), CATALOGUE / ROWS
    else:
        collection = media.load(options.media) if options.media else media.shipped()
        sample = pairs.make(
            collection.media, options.seed, options.per_attack, hashes_only=options.signals == "hashes"
        )
        fitted = {"sources": collection.sources}
        size, catalogue = Size(CATALOGUE, SMALLEST), CATALOGUE
    if options.signals == "video":
        models = [films(found, catalogue)]
    else:
        models = [fit(sample, spans, catalogue=catalogue, prior=PRIOR) for spans in TERMS[options.signals]]
    fitted |= {
        "seed": options.seed,
        "copies_per_attack": options.per_attack,
        "unrelated_pairs": sample.unrelated,
    }
    for model in models:
        print(model)
        for one in rates(sample, model, (0.5, 0.9)):
            print(
                f"  from {one.probability}: {one.recall:.3f} of the copies, {one.false_pairs} of "
                f"{sample.unrelated:,} unrelated pairs ({one.false_per_million:.3f} a million)"
            )
    if options.signals == "video":
        _show_moments(found.moments, models[0])
    if options.write:
        if options.signals == "video":
            models = with_sound(models[0], before["fitted"]["sounds"]["models"])
        date = datetime.now(UTC).date().isoformat()
        text = document(before, options.signals, models, fitted, date=date, size=size)
        COEFFICIENTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
