"""Fitting the score: on made-up pairs it comes out monotone, calibrated, and readable by the service."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.quality import fit_score
from benchmarks.quality.pairs import SIGNALS, Pairs, Shown, compare
from indexers.fingerprint import Fingerprint, Scheme
from indexers.image.embed import CNN
from indexers.image.hashes import PDQ, PHASH
from indexers.modality import Role
from service.matching.score import LogisticModel, Size, Term

CATALOGUE = 1e4
PRIOR = 0.2
FAR = 2**64 - 1
"""Bits of an original that lie far from those of another, 0."""
COLUMN = {name: place for place, name in enumerate(SIGNALS)}
BY_PDQ = fit_score.PDQ
SIZE = Size(1e6, 1e5)
EVERY = fit_score.RICH[0]
SETS = fit_score.RICH + fit_score.HASHES


@pytest.fixture(scope="module")
def sample() -> Pairs:
    """Copies lie near; the farther and the poorer in quality, the more unrelated pairs there are."""
    rng = np.random.default_rng(5)
    copies, unrelated = 400, 4000
    signals = np.zeros((copies + unrelated, len(SIGNALS)))

    def put(name: str, of_copies: npt.NDArray[Any], of_others: npt.NDArray[Any]) -> None:
        signals[:, COLUMN[name]] = np.concatenate([of_copies, of_others])

    put("pdq_distance", rng.binomial(60, 0.3, copies), 70 - rng.exponential(6, unrelated).clip(0, 70))
    put("phash_distance", rng.binomial(20, 0.2, copies), 20 - rng.exponential(3, unrelated).clip(0, 20))
    put("pdq_quality", rng.uniform(0.6, 1, copies), rng.uniform(0, 1, unrelated))
    put("phash_quality", rng.uniform(0.6, 1, copies), rng.uniform(0, 1, unrelated))
    put("cnn_similarity", rng.normal(0.8, 0.1, copies), rng.normal(0.4, 0.1, unrelated))
    put("cnn_quality", rng.uniform(0.4, 0.9, copies), rng.uniform(0.2, 0.8, unrelated))
    put("local_inliers", rng.poisson(40, copies), rng.poisson(5, unrelated))
    put("local_spread", rng.poisson(20, copies), rng.poisson(4, unrelated))
    put("local_agreement", rng.uniform(0.2, 1, copies), rng.uniform(0, 0.3, unrelated))
    return Pairs(
        signals,
        np.repeat([True, False], [copies, unrelated]),
        np.repeat([1 / 500, 1 / 1_000_000], [copies, unrelated]),
        np.repeat(["crop", ""], [copies, unrelated]),
        np.full((copies + unrelated, 2), ""),
        np.zeros(copies + unrelated, np.bool_),
        1000,
        1_000_000,
    )


@pytest.mark.parametrize("spans", SETS)
def test_no_term_speaks_against_a_copy(sample: Pairs, spans: tuple[fit_score.Span, ...]) -> None:
    model = fit_score.fit(sample, spans, catalogue=CATALOGUE, prior=PRIOR)
    assert [(term.signal, term.start, term.end) for term in model.terms] == list(spans)
    assert all(term.weight >= 0 for term in model.terms)
    assert any(term.weight > 1 for term in model.terms)


def test_a_signal_that_misleads_gets_no_weight(sample: Pairs) -> None:
    spans = (("pdq_distance", 80.0, 0.0), ("phash_quality", 0.0, 1.0))
    upside_down = sample.signals.copy()
    upside_down[:, COLUMN["phash_quality"]] = 1 - upside_down[:, COLUMN["phash_quality"]]
    for signals, helps in ((sample.signals, True), (upside_down, False)):
        fitted = fit_score.fit(replace(sample, signals=signals), spans, catalogue=CATALOGUE, prior=PRIOR)
        distance, quality = (term.weight for term in fitted.terms)
        assert distance > 1
        assert (quality > 0) is helps


def test_a_larger_catalogue_makes_less_sure(sample: Pairs) -> None:
    small = fit_score.fit(sample, BY_PDQ, catalogue=CATALOGUE, prior=PRIOR)
    large = fit_score.fit(sample, BY_PDQ, catalogue=100 * CATALOGUE, prior=PRIOR)
    signals = {"pdq_distance": 30.0, "pdq_quality": 1.0}
    assert large.probability(signals) < small.probability(signals)


def test_the_probability_is_the_share_of_copies_among_candidates(sample: Pairs) -> None:
    model = fit_score.fit(sample, EVERY, catalogue=CATALOGUE, prior=PRIOR)
    expected = np.where(sample.copies, PRIOR, CATALOGUE) * sample.weights
    probabilities = [
        model.probability(dict(zip(SIGNALS, row, strict=True))) for row in sample.signals.tolist()
    ]
    copies = float(expected[sample.copies].sum())
    assert float(np.dot(probabilities, expected)) == pytest.approx(copies, rel=0.05)


def test_pairs_without_a_models_signals_do_not_count_for_it(sample: Pairs) -> None:
    unlocated = sample.signals.copy()
    unlocated[::2, [COLUMN[name] for name in SIGNALS if name.startswith("local")]] = np.nan
    partly = replace(sample, signals=unlocated)
    assert np.isnan(fit_score.progress(partly, EVERY)).any(axis=1).sum() == len(unlocated) / 2
    model = fit_score.fit(partly, EVERY, catalogue=CATALOGUE, prior=PRIOR)
    (rates,) = fit_score.rates(partly, model, [0.5])
    assert rates.recall == pytest.approx(0.4, abs=0.02)  # of the 400 of 500 copies, half have all signals


def test_rates_count_what_reaches_a_threshold(sample: Pairs) -> None:
    always = LogisticModel(5.0, ())
    (one,) = fit_score.rates(sample, always, [0.5])
    assert one.recall == pytest.approx(0.8)  # 400 of 500 copies are near enough to be looked at
    assert one.false_pairs == 4000
    assert one.false_per_million == pytest.approx(4000)


def test_the_file_reads_back_and_keeps_the_other_kind(sample: Pairs) -> None:
    fitted = {
        kind: [fit_score.fit(sample, spans, catalogue=CATALOGUE, prior=PRIOR) for spans in sets]
        for kind, sets in fit_score.TERMS.items()
        if fit_score.MODALITY[kind] == "image"
    }
    content: dict[str, Any] = {"fitted": {}, "catalogues": {"text": {"fitted": 10.0, "smallest": 1.0}}}
    for kind, models in fitted.items():
        content = json.loads(
            fit_score.document(content, kind, models, {"seed": 1}, date="2026-01-02", size=SIZE)
        )
    assert content["revision"].startswith("2026-01-02-")
    read = [
        LogisticModel(one["intercept"], tuple(Term(**term) for term in one["terms"]))
        for one in content["models"]["image"]
    ]
    assert read == [*fitted["all"], *fitted["hashes"]]
    again = json.loads(
        fit_score.document(content, "hashes", fitted["hashes"], {"seed": 1}, date="2026-01-02", size=SIZE)
    )
    assert again == content
    assert content["catalogues"]["image"] == {"fitted": 1e6, "smallest": 1e5}
    assert content["catalogues"]["text"] == {"fitted": 10.0, "smallest": 1.0}


def test_new_models_of_sounds_are_those_of_films_too() -> None:
    place = LogisticModel(0.5, (Term("frames_motion", 0.0, 1.0, 2.0),))
    frames = LogisticModel(-1.0, (Term("frames_evidence", 0.0, 1.0, 3.0),), place)
    codes = LogisticModel(-2.0, (Term("chromaprint_evidence", 0.0, 9.0, 4.0),))
    peaks = LogisticModel(-3.0, (*codes.terms, Term("peak_evidence", 0.0, 9.0, 5.0)))
    content: dict[str, Any] = {"fitted": {}, "catalogues": {}}
    films = fit_score.with_sound(frames, [{"intercept": -2.5, "terms": []}])
    for kind, models in (("video", films), ("sounds", [peaks, codes])):
        content = json.loads(fit_score.document(content, kind, models, {}, date="2026-01-02", size=SIZE))
    assert [LogisticModel.read(one) for one in content["models"]["audio"]] == [peaks, codes]
    both, without_peaks, silent, alone, *sounds = map(LogisticModel.read, content["models"]["video"])
    assert both.terms == (*frames.terms, fit_score.AGREEMENT, *peaks.terms)
    assert without_peaks.terms == (*frames.terms, fit_score.AGREEMENT, *codes.terms)
    assert silent.terms == (*frames.terms, fit_score.AGREEMENT)
    assert alone == frames
    assert sounds == [peaks, codes]


def shown(source: int, pdq: list[int], original: int, role: Role) -> Shown:
    """A picture whose PDQ hashes differ in their first bits alone."""

    def described(scheme: Scheme, rows: npt.NDArray[np.generic]) -> Fingerprint:
        n = len(rows)
        spans = np.tile([0.0, 1.0], (n, 1))
        return Fingerprint(scheme, rows, spans, np.ones(n, np.float32), np.arange(n, dtype=np.uint8))

    hashes = np.zeros((len(pdq), 32), np.uint8)
    hashes[:, 0] = pdq
    embedded = np.zeros((1, 256), np.float32)
    embedded[0, source] = 1
    prints = (described(PDQ, hashes), described(PHASH, np.zeros((1, 8), np.uint8)), described(CNN, embedded))
    return Shown(source, f"{source}.png", "", role, prints, np.full((1, 4), original, np.uint64))


def test_pairs_hold_the_signals_of_the_modality() -> None:
    query = shown(1, [0b1111, 0b1], FAR, Role.QUERY)
    references = [shown(1, [0b0], FAR, Role.REFERENCE), shown(2, [0b11], 0, Role.REFERENCE)]
    pairs = compare([query], references)
    assert pairs.signals[:, COLUMN["pdq_distance"]].tolist() == [1, 1]
    assert pairs.signals[:, COLUMN["cnn_similarity"]].tolist() == [1, 0]
    assert np.isnan(pairs.signals[:, COLUMN["local_inliers"]]).all()
    assert pairs.copies.tolist() == [True, False]
    assert pairs.unrelated == 1


def test_pairs_leave_out_a_picture_that_the_collection_holds_twice() -> None:
    twins = [shown(2, [0], FAR, Role.REFERENCE), shown(3, [0], 0, Role.REFERENCE)]
    pairs = compare([shown(1, [0, 0], FAR, Role.QUERY)], twins)
    assert pairs.copies.tolist() == [False]
    assert pairs.unrelated == 2
    assert pairs.weights.tolist() == [0.5]
