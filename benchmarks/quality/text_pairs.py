"""Texts and the registered works that resemble them, with the service's signals, for fitting the score."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.quality import text_media
from benchmarks.quality.bench_text import Asked, questions
from benchmarks.quality.pairs import Pairs
from benchmarks.quality.text_matchers import Ours
from benchmarks.quality.text_media import Library

SIGNALS: Final = ("text_evidence", "text_places", "text_density", "text_characters", "text_longest")
"""Columns of `Pairs.signals`, as `indexers.text.align` names and measures them."""

_QUOTATIONS: Final = {"zh": (10, 50), "en": (40, 160)}
"""Characters that are quoted of a work, once or twice, in a text that is no copy: a line or two."""


def make(folders: Sequence[Path], seed: int, per_cell: int, negatives: int) -> tuple[Pairs, int]:
    """Register books, attack passages of them, quote them, and retrieve and align as the service does.

    Args:
        folders: Each of ``zh/*.txt`` and ``en/*.txt``, books of which some are registered and copied; of all
            but the first, all are registered alone.
        seed: Of the draw and of all attacks.
        per_cell: Passages for each attack and length, of each language.
        negatives: Texts of each language that hold nothing, and as many that quote.

    Returns:
        What was retrieved of each query, and how many keys are registered. A copy that was not retrieved has
        no signals of a copy: zeros.
    """
    rng = random.Random(seed)
    more = folders[1] if len(folders) > 1 else None
    libraries = [text_media.load(folders[0], language, rng, more) for language in ("zh", "en")]
    ours = Ours()
    for library in libraries:
        for name, text in library.registered.items():
            ours.register(name, text)
        for number, text in enumerate(library.distractors):
            ours.register(f"other-{library.language}-{number}", text)
    ours.ready()
    asked = []
    for library in libraries:
        # Texts that share a passage with a registered work by nature, such as verse, are no examples.
        made = [one for one in questions(library, rng, per_cell, negatives) if not one.quotes]
        asked += [*made, *_quoting([one for one in made if one.target is None], library, rng)]
    return _compared(asked, ours), ours.rows


def _quoting(strangers: Sequence[Asked], library: Library, rng: random.Random) -> Iterator[Asked]:
    """The same texts with a line or two of a registered work in them."""
    works = list(library.registered.values())
    for one in strangers:
        work, text = rng.choice(works), one.text
        for _ in range(rng.randint(1, 2)):
            length = rng.randint(*_QUOTATIONS[library.language])
            start, place = rng.randrange(len(work) - length), rng.randrange(len(text))
            text = text[:place] + work[start : start + length] + text[place:]
        yield Asked(text, library.language, one.length, "quotation", quotes=True)


def _compared(asked: Sequence[Asked], ours: Ours) -> Pairs:
    rows, copies, names = [], [], []
    for query in asked:
        compared = ours.compared(query.text)
        for name, alignment in compared:
            if query.target is not None and name != query.target:
                continue  # a book that quotes the same, or another edition: no example of either
            rows.append([alignment.signals[signal] for signal in SIGNALS])
            copies.append(query.target is not None)
            names.append((query.attack, name))
        if query.target is not None and all(name != query.target for name, _ in compared):
            rows.append([0.0] * len(SIGNALS))
            copies.append(True)
            names.append((query.attack, query.target))
    is_copy = np.array(copies)
    strangers = sum(query.target is None for query in asked)
    return Pairs(
        signals=np.array(rows, np.float64),
        copies=is_copy,
        weights=np.where(is_copy, 1 / max(1, is_copy.sum()), 1 / max(1, strangers)),
        attacks=np.array([attack for attack, _ in names]),
        names=np.array(names),
        alike=np.zeros(len(rows), np.bool_),
        references=ours.works,
        unrelated=strangers,
        columns=SIGNALS,
    )
