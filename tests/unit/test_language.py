"""Catalogues are complete and agree with the code; every measurement has words."""

import re
from typing import Any

import pytest

from indexers import registry
from indexers.fingerprint import SpanUnit
from indexers.image import hashes
from indexers.modality import AlignedSegment, Modality
from service.language import (
    LANGUAGES,
    Telling,
    explain_coverage,
    explain_probability,
    explain_segment,
    explain_signal,
    explain_signals,
    explain_transform,
    likelihood,
    preferred,
    update,
    words,
)
from service.language.explain import _SIGNALS, SIGNALS, TRANSFORMS, percent
from service.language.words import DEFAULT_LANGUAGE, DOMAINS
from service.matching.score import IDENTICAL_FILE

CATALOGUES = [
    pytest.param(language, domain, id=f"{language}-{domain}")
    for language in sorted(LANGUAGES.keys() - {DEFAULT_LANGUAGE})
    for domain in DOMAINS
]
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]")


def texts(message: Any) -> list[str]:
    return [message] if isinstance(message, str) else list(message)


@pytest.mark.parametrize(("language", "domain"), CATALOGUES)
def test_catalogue_holds_what_the_code_says_and_no_more(language: str, domain: str) -> None:
    said = {str(message.id) for message in update.template(domain) if message.id}
    held = {str(message.id) for message in update.load(language, domain) if message.id}
    assert said == held, "run `python -m service.language.update`"


@pytest.mark.parametrize(("language", "domain"), CATALOGUES)
def test_everything_is_translated(language: str, domain: str) -> None:
    assert not list(update.untranslated(update.load(language, domain)))


@pytest.mark.parametrize(("language", "domain"), CATALOGUES)
def test_placeholders_agree(language: str, domain: str) -> None:
    for message in update.load(language, domain):
        wanted = set(PLACEHOLDER.findall(texts(message.id)[-1]))
        for text in texts(message.string):
            assert set(PLACEHOLDER.findall(text)) == wanted, text
            assert "%" not in PLACEHOLDER.sub("", text), text


@pytest.mark.parametrize(("language", "domain"), CATALOGUES)
def test_compiled_catalogue_is_that_of_the_text(language: str, domain: str) -> None:
    compiled = update.path(language, domain).with_suffix(".mo").read_bytes()
    assert compiled == update.compiled(update.load(language, domain)), (
        "run `python -m service.language.update`"
    )


@pytest.mark.parametrize("modality", registry.MODALITIES, ids=lambda modality: modality.name)
def test_every_signal_of_a_modality_has_words(modality: Modality[Any]) -> None:
    assert modality.signal_units.keys() <= SIGNALS


def test_no_words_for_signals_that_do_not_exist() -> None:
    known = {name for modality in registry.MODALITIES for name in modality.signal_units}
    assert known | {IDENTICAL_FILE} == SIGNALS


def test_every_transform_has_words() -> None:
    assert {*hashes.TRANSFORMS, "affine", "perspective"} == TRANSFORMS


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", sorted(SIGNALS))
def test_each_band_of_a_signal_says_its_number(language: str, name: str) -> None:
    signal = _SIGNALS[name]
    bounds = [band.until for band in signal.bands]
    assert bounds == sorted(bounds)
    for band in signal.bands[:-1]:
        told = explain_signal(words(language, "report"), name, band.until)
        assert told.telling is band.telling
        assert told.value.strip()
        assert "%" not in told.sentence
        if "%(value)s" in band.sentence:
            assert f"{band.until:,.{signal.decimals}f}" in told.sentence
    last = explain_signal(words(language, "report"), name, 1e9)
    assert last.telling is signal.bands[-1].telling


def test_most_telling_measurements_come_first() -> None:
    told = explain_signals(
        words("en", "report"), {"pdq_quality": 0.1, "phash_distance": 3.0, "pdq_distance": 4.0}
    )
    assert [one.signal for one in told] == ["pdq_distance", "phash_distance", "pdq_quality"]
    assert [one.telling for one in told] == [Telling.STRONG, Telling.SOME, Telling.NONE]


def test_unknown_signal_is_told_as_it_is() -> None:
    told = explain_signal(words("zh", "report"), "later_signal", 2.5)
    assert (told.label, told.value) == ("later_signal", "2.5")
    assert "later_signal" in told.sentence


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("probability", "told"), [(0.93, "93"), (0.999, "995"), (0.001, "1"), (0.5, "50")])
def test_probability_is_told_as_a_frequency(language: str, probability: float, told: str) -> None:
    sentences = explain_probability(words(language, "report"), probability, {})
    assert percent(probability) in sentences[0]
    assert probability == 0.001 or told in sentences[1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_another_moment_of_a_film_is_told_as_such(language: str) -> None:
    def told(probability: float, signals: dict[str, float]) -> list[str]:
        return explain_probability(words(language, "report"), probability, signals)

    uncertain = told(0.04, {"frames_motion": 0.02})
    assert len(uncertain) == len(told(0.04, {})) + 1
    assert uncertain[2] not in told(0.97, {"frames_motion": 0.6})


def test_identical_files_are_told_as_such() -> None:
    sentences = explain_probability(words("en", "report"), 1.0, {IDENTICAL_FILE: 1.0})
    assert "SHA-256" in sentences[1]


def test_parts_are_never_rounded_to_all_or_nothing() -> None:
    assert percent(0.99999) == "> 99.9 %"
    assert percent(0.00001) == "< 0.1 %"
    assert (percent(0.0), percent(0.5), percent(1.0)) == ("0.0 %", "50.0 %", "100.0 %")
    assert [likelihood(part) for part in (0.0, 0.5, 1.0)] == ["< 0.1 %", "50.0 %", "> 99.9 %"]
    assert "> 99.9 %" in explain_coverage(words("en", "report"), 0.99999, 0.5)


def test_what_was_done_to_a_stretch() -> None:
    said = words("en", "report")
    plain = AlignedSegment((0, 1), (0, 1), 1.0, SpanUnit.SECOND)
    changed = AlignedSegment((0, 1), (0, 1), -1.25, SpanUnit.SECOND, -100.0)
    assert explain_segment(said, plain) == []
    assert explain_segment(said, changed) == [
        "backwards",
        "faster, at 1.25 times the speed",
        "lower by 1.00 semitones",
    ]
    assert explain_transform(said, "rotate_180") == "turned by 180°"
    assert explain_transform(said, "later") == "later"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("zh-TW,en;q=0.5", "zh"),
        ("de, en;q=0.7, zh;q=0.3", "en"),
        ("", "en"),
        ("fr", "en"),
        ("zh;q=x, zh;q=0.1", "zh"),
        ("zh;q=0", "en"),
    ],
)
def test_language_that_a_browser_asks_for(accepted: str, language: str) -> None:
    assert preferred(accepted) == language


def test_there_is_no_other_catalogue() -> None:
    with pytest.raises(ValueError, match="'fr'"):
        words("fr", "report")
    with pytest.raises(ValueError, match="'mail'"):
        words("en", "mail")


def test_counts_have_their_own_words() -> None:
    said = words("en", "report")
    assert said.plural("%(num)s place", "%(num)s places", 1) == "1 place"
    assert said.plural("%(num)s place", "%(num)s places", 1200) == "1,200 places"
