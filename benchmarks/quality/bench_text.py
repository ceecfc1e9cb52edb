"""Which passages are found again after attacks, and what alarms wrongly: our fingerprints against peers.

    python -m benchmarks.quality.bench_text --smoke
    python -m benchmarks.quality.bench_text --media FOLDER --distractors OTHER

A folder holds ``zh/*.txt`` and ``en/*.txt``, one book a file, UTF-8.
"""

import argparse
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.quality import text_media
from benchmarks.quality.text_attacks import ATTACKS, Hand
from benchmarks.quality.text_matchers import Matcher, MinHash, Ours, Passage, SimHash
from benchmarks.quality.text_media import Library

SEED: Final = 7
"""Of what is reported; other seeds are for tuning."""
LENGTHS: Final = (300, 500, 1_000, 2_000)
"""Characters of a passage before the attack."""
AROUND: Final = 800
"""Characters of unrelated text before a passage, and after it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A query: a text and what it holds.

    Attributes:
        text: Unrelated text, with an attacked passage in it where `target` is given.
        language: Of the passage.
        length: Of the passage before the attack.
        attack: By name; empty: none.
        target: Work that it was taken from.
        query: Where the passage stands in `text`.
        work: Where it stands in the work.
        quotes: Whether it holds a line of a registered work without being a copy (verse, a proverb).
    """

    text: str
    language: str
    length: int
    attack: str = ""
    target: str | None = None
    query: tuple[int, int] = (0, 0)
    work: tuple[int, int] = (0, 0)
    quotes: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """What one matcher says of all queries.

    Attributes:
        threshold: Best score of a query that holds nothing.
        threshold_all: The same of those too that share a line with a registered work.
        recall_all: Recall above that.
        recall: By language, attack and length, of passages found above it.
        overlap: Mean intersection over union of the found and the true span in the query, and in the work.
        bytes_per_character: Of the works.
        cpu_ms_per_kb: Of a query, in processor time for 1,000 bytes of UTF-8.
    """

    threshold: float
    threshold_all: float
    recall_all: dict[str, float]
    recall: dict[str, float]
    overlap: dict[str, tuple[float, float]]
    bytes_per_character: float
    cpu_ms_per_kb: float


def questions(library: Library, rng: random.Random, per_cell: int, negatives: int) -> list[Asked]:
    """Passages of every length under every attack, and queries that hold nothing."""
    asked = []
    names = list(library.registered)

    def stretch(length: int) -> str:
        text = rng.choice([one for one in library.strangers if len(one) >= length])
        start = rng.randrange(len(text) - length + 1)
        return text[start : start + length]

    for attack, change in ATTACKS.items():
        for length in LENGTHS:
            for number in range(per_cell):
                name = names[(number * 7 + length) % len(names)]
                start = rng.randrange(len(library.registered[name]) - length + 1)
                passage = library.registered[name][start : start + length]
                changed = change(passage, Hand(rng, stretch(3_000)))
                before, after = stretch(AROUND), stretch(AROUND)
                asked.append(
                    Asked(
                        before + changed + after,
                        library.language,
                        length,
                        attack,
                        name,
                        (AROUND, AROUND + len(changed)),
                        (start, start + length),
                    )
                )
    texts = [stretch(2 * AROUND + LENGTHS[number % len(LENGTHS)]) for number in range(negatives)]
    for text, quotes in zip(texts, text_media.quoting(texts, library), strict=True):
        asked.append(Asked(text, library.language, len(text) - 2 * AROUND, quotes=quotes))
    return asked


def growth(libraries: Sequence[Library], options: argparse.Namespace) -> list[dict[str, float]]:
    """The same questions at every size: what they are about, then other works up to the size.

    What real texts do not fill is filled with keys that they hold, drawn at random: found, never aligned.
    """
    sizes = sorted(round(1e6 * size) for size in options.growth)
    rng = random.Random(options.seed)
    asked_for, others = [], []
    for library in libraries:
        room = sizes[0] / len(libraries)
        held: dict[str, str] = {}
        for name, text in library.registered.items():
            if len(text) <= room:
                held[name] = text
                room -= len(text)
        rest = [text for name, text in library.registered.items() if name not in held]
        others += [*rest, *library.distractors]
        asked_for.append(replace(library, registered=held, distractors=[*rest, *library.distractors]))
    rng.shuffle(others)
    asked = [
        one for library in asked_for for one in questions(library, rng, options.per_cell, options.negatives)
    ]
    rows = []
    for size in sizes:
        works = [replace(library, distractors=[]) for library in asked_for]
        room = size - sum(len(text) for library in works for text in library.registered.values())
        for text in others:
            if len(text) <= room:
                works[0].distractors.append(text)
                room -= len(text)
        extra = room if size == sizes[-1] or room > size // 10 else 0
        one = measure(Ours(), works, asked, extra)
        by_language = {
            library.language: [
                recall for cell, recall in one.recall.items() if cell.startswith(library.language)
            ]
            for library in asked_for
        }
        rows.append(
            {
                "characters": size - room + extra,
                "of_them_multiplied": extra,
                "threshold": one.threshold,
                **{f"recall_{language}": float(np.mean(some)) for language, some in by_language.items()},
                "bytes_per_character": one.bytes_per_character,
                "cpu_ms_per_kb": one.cpu_ms_per_kb,
            }
        )
        print(rows[-1], flush=True)
    return rows


def measure(matcher: Matcher, libraries: Sequence[Library], asked: Sequence[Asked], extra: int) -> Answered:
    """Register, ask and compare."""
    for library in libraries:
        for name, text in library.registered.items():
            matcher.register(name, text)
        if isinstance(matcher, Ours):
            for number, text in enumerate(library.distractors):
                matcher.register(f"other-{library.language}-{number}", text)
    characters = sum(len(text) for library in libraries for text in library.registered.values())
    if isinstance(matcher, Ours):
        characters += sum(len(text) for library in libraries for text in library.distractors)
        if extra:
            matcher.crowd(extra // 4, np.random.default_rng(SEED))
            characters += extra
    size = matcher.ready()
    began = time.process_time()
    answers = [matcher.ask(one.text) for one in asked]
    spent = time.process_time() - began
    pairs = list(zip(asked, answers, strict=True))
    wrong = [(one.score, query.quotes) for query, found in pairs for one in found if query.target is None]
    threshold_all = max((score for score, _ in wrong), default=0.0)
    threshold = max((score for score, quotes in wrong if not quotes), default=0.0)
    overlaps: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for query, found in pairs:
        for one in found:
            if one.target == query.target and one.score > threshold and one.query:
                overlaps[_cell(query)].append(
                    (_overlap(one.query, query.query), _overlap(one.work, query.work))
                )
    kilobytes = sum(len(one.text.encode()) for one in asked) / 1_000
    return Answered(
        threshold,
        threshold_all,
        _recall(pairs, threshold_all),
        _recall(pairs, threshold),
        {
            cell: (float(np.mean([one for one, _ in some])), float(np.mean([one for _, one in some])))
            for cell, some in overlaps.items()
        },
        size / characters,
        1_000 * spent / kilobytes,
    )


def _cell(query: Asked) -> str:
    return f"{query.language}|{query.attack}|{query.length}"


def _recall(pairs: Sequence[tuple[Asked, Sequence[Passage]]], threshold: float) -> dict[str, float]:
    hits: dict[str, list[bool]] = defaultdict(list)
    for query, found in pairs:
        if query.target is not None:
            hits[_cell(query)].append(
                any(one.target == query.target and one.score > threshold for one in found)
            )
    return {cell: float(np.mean(some)) for cell, some in hits.items()}


def _overlap(found: Sequence[tuple[float, float]], true: tuple[int, int]) -> float:
    """Intersection over union of some intervals and one."""
    reached, inside, total = -np.inf, 0.0, 0.0
    for start, end in sorted(found):
        begin = max(start, reached)
        if end > begin:
            total += end - begin
            inside += max(0.0, min(end, true[1]) - max(begin, true[0]))
            reached = end
    return inside / (total + true[1] - true[0] - inside)


def document(results: dict[str, Any]) -> str:
    """Tables in Markdown."""
    lines = []
    for name, one in results["systems"].items():
        lines.append(
            f"\n{name}: threshold {one['threshold']:.3g} "
            f"({one['threshold_all']:.3g} with those that quote), "
            f"{one['bytes_per_character']:.2f} bytes a character, {one['cpu_ms_per_kb']:.3f} ms/kB\n"
        )
        for language in ("zh", "en"):
            lines.append(
                f"| {language} recall [with those that quote] (IoU query/work) | "
                + " | ".join(map(str, LENGTHS))
                + " |"
            )
            lines.append("|---" * (1 + len(LENGTHS)) + "|")
            for attack in ATTACKS:
                cells = []
                for length in LENGTHS:
                    cell = f"{language}|{attack}|{length}"
                    overlap = one["overlap"].get(cell)
                    beside = f" ({overlap[0]:.2f}/{overlap[1]:.2f})" if overlap else ""
                    every = (
                        ""
                        if one["recall_all"][cell] == one["recall"][cell]
                        else f" [{one['recall_all'][cell]:.2f}]"
                    )
                    cells.append(f"{one['recall'][cell]:.2f}{every}{beside}")
                lines.append(f"| {attack} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def falls_short(results: dict[str, Any]) -> list[str]:
    """Which of our targets are missed."""
    ours = results["systems"][Ours.name]
    short = []
    for cell, recall in ours["recall"].items():
        language, attack, text = cell.split("|")
        length = int(text)
        if language == "zh":
            least = 0.98 if length >= 500 else 0.95 if attack == "characters 30 %" else 0.0
        elif attack.startswith("characters"):
            least = 0.9 if attack in {"characters 10 %", "characters 20 %"} and length >= 1_000 else 0.0
        else:
            least = 0.98 if length >= 500 and attack not in {"OCR", "mixture"} else 0.0
        if recall < least:
            short.append(f"{cell}: recall {recall:.3f} < {least}")
    if ours["bytes_per_character"] > 6:
        short.append(f"{ours['bytes_per_character']:.2f} bytes a character > 6")
    fastest = min(one["cpu_ms_per_kb"] for name, one in results["systems"].items() if name != Ours.name)
    if ours["cpu_ms_per_kb"] > 1.5 * fastest:
        short.append(f"{ours['cpu_ms_per_kb'] / fastest:.2f} times the fastest peer's time")
    return short


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--media", type=Path, help="folder of zh/*.txt and en/*.txt")
    parser.add_argument("--distractors", type=Path, help="another such folder, all registered too")
    parser.add_argument("--extra", type=int, default=0, help="so many characters more, as keys in no order")
    parser.add_argument("--limit", type=int, default=200, help="most distractors of a language")
    parser.add_argument("--per-cell", type=int, default=24, help="passages for each attack and length")
    parser.add_argument(
        "--negatives", type=int, default=1_000, help="queries of each language that hold nothing"
    )
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--only-ours", action="store_true", help="leave the peers out")
    parser.add_argument(
        "--growth",
        type=float,
        nargs="+",
        help="ask ours alone at these sizes instead, in millions of characters",
    )
    parser.add_argument("--smoke", action="store_true", help="made-up texts, seconds")
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    languages = ("zh", "en")
    if options.smoke or options.media is None:
        libraries = [text_media.made_up(language, rng) for language in languages]
    else:
        libraries = [
            text_media.load(options.media, language, rng, options.distractors) for language in languages
        ]
    for library in libraries:
        del library.distractors[options.limit :]
    if options.growth:
        grown = {"seed": options.seed, "growth": growth(libraries, options)}
        if options.json:
            options.json.write_text(json.dumps(grown, indent=1) + "\n", encoding="utf-8")
        return 0
    per_cell, negatives = (1, 8) if options.smoke else (options.per_cell, options.negatives)
    asked = [one for library in libraries for one in questions(library, rng, per_cell, negatives)]
    matchers: list[Matcher] = [Ours()] if options.only_ours else [Ours(), MinHash(), SimHash()]
    results = {
        "seed": options.seed,
        "queries": len(asked),
        "quoting": sum(one.quotes for one in asked),
        "negatives": sum(one.target is None for one in asked),
        "characters": {
            one.language: sum(map(len, one.registered.values())) + sum(map(len, one.distractors))
            for one in libraries
        },
        "systems": {one.name: asdict(measure(one, libraries, asked, options.extra)) for one in matchers},
    }
    print({name: value for name, value in results.items() if name != "systems"})
    print(document(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    short = falls_short(results) if not options.only_ours else []
    for line in short:
        print(f"MISSED: {line}")
    return int(bool(short) and not options.smoke)


if __name__ == "__main__":
    sys.exit(main())
