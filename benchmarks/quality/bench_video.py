"""Which attacked films are found and where, and what alarms wrongly: the running service against its peers.

    python -m benchmarks.quality.bench_video --smoke
    python -m benchmarks.quality.bench_video --media FOLDER --cache CACHE --prepare
    python -m benchmarks.quality.bench_video --media FOLDER --cache CACHE --json quality_videos.json

A media folder holds a folder of video files for each origin (`video_media`). Origins are registered or
strange as a whole. Excerpts of registered films are asked about under every attack (`video_attacks`),
excerpts of strange ones half as they are and half attacked, and other moments of scenes of which the
beginning is registered. The service runs as it ships and is asked over gRPC, with min_probability 0.

Ranking and alarms are those of copies and strangers; other moments are counted by themselves. A query that
holds several works counts once for each.

The exit status is 1 if the service falls short of what is asked of it.
"""

import argparse
import json
import math
import os
import platform
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.quality import metrics, video_growth, video_media, video_peers, video_uploads
from benchmarks.quality.audio_peers import Hit, Matcher
from benchmarks.quality.metrics import Answers, AtThreshold, Found, Ranking
from benchmarks.quality.tables import table
from benchmarks.quality.video_attacks import ATTACKS, Part
from benchmarks.quality.video_media import Amounts, Film, Plan, Question, Sides
from benchmarks.quality.video_peers import PROGRAMS, VIDEOHASH_RULE, VPDQ_RULE, Copyhound, Videohash, Vpdq
from service.settings import Settings

SEED: Final = 11
"""Of the split, the excerpts and the attacks; other seeds are for tuning."""
SMOKE: Final = ("excerpt", "crop")
GROWTH: Final = (10, 100, 1000)
"""Hours that are indexed."""
LONG: Final = 900.0
"""Seconds of the film by which bytes are measured: of short ones, twice as many frames are kept."""
PRECISIONS: Final = (0.9, 0.99)

_MICRO_AP: Final = 0.97
_RECALL: Final = (0.97, 0.92)
_F1: Final = 0.88
_ATTACK_RECALL: Final = {"inside_60": 0.85, "inside_35": 0.85, "short": 0.95, "five_seconds": 0.90}
_MOMENTS: Final = 0.10
_UPLOAD: Final = 1.6
_STORED: Final = 2_500_000
"""What is asked: ranking, recall at `PRECISIONS`, stretches, recall by attack at 1 % alarms, part of other
moments that are blocked as copies, bytes an hour."""
_BLOCKED: Final = "blocked"
"""What is counted where the service asks to block a query, as it does for nothing but copies."""

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Places:
    """How well stretches are found, by VCSL's definition (https://arxiv.org/abs/2203.02654, section 4).

    Of a pair of query and work: precision is the part of the reported stretches that lies in true ones, in
    the query's time, times the same in the work's; recall is the part of the true ones that is reported.
    What overlaps counts once, and a reported stretch and a true one have common time only where they have it
    in both.

    Attributes:
        precision: Mean over the copies that are found at 90 % precision of the ranking.
        recall: Mean over all copies; 0 for those that are not found.
        f1: Of these two.
    """

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What one matcher does.

    Attributes:
        ranking: Of copies and strangers.
        recall_at_precision_99: Recall with one of a hundred pairs wrong.
        micro_ap_with_moments: With other moments among the queries.
        recall_by_attack: At 1 % alarms.
        at: What becomes of the queries at the matcher's own rules.
        moments: How many queries of other moments name the scene, and how many name anything, by rule.
        places: How well stretches are found.
        ends_by_attack: How far the ends of stretches are off, seconds: medians; see `ends_off`.
        cpu_of_decoding: CPU of a query, in that of decoding it once.
        index_cpu_of_decoding: CPU of registering, in that of decoding the films once.
        stored_per_hour: Bytes for a registered hour, by those of one long film.
        uploads: CPU of usual uploads (`video_uploads`) by name, in that of decoding each once.
        false_alarms: Pairs above the lowest of the rules that are wrong, surest first.
        missed: Copies below the score that 1 % of the strangers reach.
    """

    ranking: Ranking
    recall_at_precision_99: float
    micro_ap_with_moments: float
    recall_by_attack: Mapping[str, float]
    at: Mapping[str, AtThreshold]
    moments: Mapping[str, tuple[int, int]]
    places: Places
    ends_by_attack: Mapping[str, float]
    cpu_of_decoding: float
    index_cpu_of_decoding: float
    stored_per_hour: float
    uploads: Mapping[str, float]
    false_alarms: Sequence[Mapping[str, Any]]
    missed: Sequence[str]


def rules(name: str) -> dict[str, float]:
    """Scores from which on a matcher's own rules count a match, by name."""
    if name == Copyhound.name:
        settings = Settings(data=Path())
        return {"review": settings.review_threshold, "action": settings.action_threshold}
    if name == Vpdq.name:
        return {"80 % of the query within 31 bits": VPDQ_RULE}
    if name == Videohash.name:
        return {f"≤ {VIDEOHASH_RULE} bits": -VIDEOHASH_RULE}
    return {}


def measure(
    programs: Sequence[Callable[[], Matcher]], plan: Plan, long: Film, uploads: Mapping[str, Path]
) -> dict[str, Measured]:
    """Register and ask, one matcher after the other.

    Args:
        programs: Start the matchers.
        plan: What is registered and asked.
        long: By which bytes an hour are measured, alone.
        uploads: What is asked one by one, for its cost.
    """
    references, asked = list(plan.references.values()), [question.path for question in plan.questions]
    decoding = video_peers.decoding(references), video_peers.decoding(asked)
    measured = {}
    for program in programs:
        matcher = program()
        try:
            registering = matcher.register(plan.references)
            found, spent = matcher.ask(asked)
            costs = {name: matcher.ask([path])[1] for name, path in uploads.items()}
        finally:
            matcher.close()
        stored = _stored(program, long)
        cpu = registering / decoding[0], spent / decoding[1]
        ratios = {name: cost / video_peers.decoding([uploads[name]]) for name, cost in costs.items()}
        measured[matcher.name] = judged(matcher.name, plan, found, cpu, stored, uploads=ratios)
    return measured


def _stored(program: Callable[[], Matcher], long: Film) -> float:
    """Bytes an hour that a film takes beyond an empty matcher."""
    matcher = program()
    try:
        empty = matcher.size().stored
        matcher.register({long.name: long.path})
        return (matcher.size().stored - empty) / long.seconds * 3600
    finally:
        matcher.close()


def judged(
    name: str,
    plan: Plan,
    found: Sequence[Sequence[Hit]],
    cpu: tuple[float, float],
    stored: float,
    *,
    uploads: Mapping[str, float],
) -> Measured:
    """Judge the answers to all queries.

    Args:
        name: Of the matcher.
        plan: What was registered and asked.
        found: What it said of each query.
        cpu: Of registering and of asking, in that of decoding.
        stored: Bytes for a registered hour.
        uploads: See `Measured`.
    """
    pairs = list(zip(plan.questions, found, strict=True))
    answers = [one for question, hits in pairs if not question.near for one in _answers(question, hits)]
    moments = [one for question, hits in pairs if question.near for one in _answers(question, hits)]
    ranking, thresholds = metrics.rank(answers, len(plan.references)), rules(name)
    at_90 = score_at(answers, PRECISIONS[0])
    limit = _alarm_limit(answers)
    missed = [
        f"{asked.name}: {asked.target}"
        for asked, some in answers
        if asked.target and not any(one.target == asked.target and one.score > limit for one in some)
    ]
    at = {rule: metrics.at(answers, one) for rule, one in thresholds.items()}
    other_moments = {rule: _moments(pairs, one) for rule, one in thresholds.items()}
    if name == Copyhound.name:
        blocking = [(question, [hit for hit in hits if hit.blocks]) for question, hits in pairs]
        rows = [row for question, hits in blocking if not question.near for row in _answers(question, hits)]
        at[_BLOCKED] = metrics.at(rows, 0.0)
        other_moments[_BLOCKED] = _moments(blocking, 0.0)
    return Measured(
        ranking,
        metrics.at(answers, score_at(answers, PRECISIONS[1])).recall,
        metrics.rank([*answers, *moments], len(plan.references)).micro_ap,
        ranking.by_attack_at_1_percent_alarms,
        at,
        other_moments,
        places(pairs, at_90),
        ends_by_attack(pairs, at_90),
        cpu[1],
        cpu[0],
        stored,
        uploads,
        metrics.false_alarms(answers, min(thresholds.values(), default=at_90))[:200],
        missed,
    )


def _answers(question: Question, hits: Sequence[Hit]) -> list[tuple[metrics.Asked, list[Found]]]:
    """A row for each work that a query holds: with that work's score, and the first with all wrong ones."""
    asked = question.asked
    targets = {one.target for one in asked}
    best: dict[str, float] = {}
    for hit in hits:
        best[hit.track] = max(hit.score, best.get(hit.track, -math.inf))
    wrong = [Found(track, score) for track, score in best.items() if track not in targets]
    rows = [
        (one, [Found(one.target, best[one.target])] if one.target is not None and one.target in best else [])
        for one in asked
    ]
    rows[0][1].extend(wrong)
    return [(one, sorted(some, key=lambda found: -found.score)) for one, some in rows]


def score_at(answers: Answers, precision: float) -> float:
    """The lowest score from which on so many of the pairs are right; infinite: there is none."""
    pairs = sorted(
        ((one.score, one.target == asked.target) for asked, some in answers for one in some), reverse=True
    )
    lowest, right = math.inf, 0
    for place, (score, true) in enumerate(pairs):
        right += true
        last = place + 1 == len(pairs) or pairs[place + 1][0] < score
        if last and right / (place + 1) >= precision:
            lowest = score
    return lowest


def _alarm_limit(answers: Answers) -> float:
    """The score that 1 % of the strangers reach."""
    strange = (
        max((one.score for one in some), default=-math.inf) for asked, some in answers if not asked.target
    )
    scores = sorted(strange, reverse=True)
    return scores[len(scores) // 100] if scores else -math.inf


def _moments(pairs: Sequence[tuple[Question, Sequence[Hit]]], threshold: float) -> tuple[int, int]:
    """Queries of other moments for which the scene is named, and for which anything is."""
    named = [
        (question.near, {hit.track for hit in hits if hit.score >= threshold})
        for question, hits in pairs
        if question.near
    ]
    return sum(near in some for near, some in named), sum(bool(some) for _, some in named)


def places(pairs: Sequence[tuple[Question, Sequence[Hit]]], threshold: float) -> Places:
    """Compare stretches of copies that score so much with the true ones."""
    precisions, recalls = [], []
    for question, hits in pairs:
        for film in sorted({part.film for part in question.parts}):
            true = [part for part in question.parts if part.film == film]
            named = _named(film, hits, threshold)
            precision, recall = overlap(named, true)
            recalls.append(recall)
            if named:
                precisions.append(precision)
    precision, recall = (float(np.mean(some)) if some else 0.0 for some in (precisions, recalls))
    return Places(precision, recall, 2 * precision * recall / (precision + recall or 1.0))


def ends_by_attack(pairs: Sequence[tuple[Question, Sequence[Hit]]], threshold: float) -> dict[str, float]:
    """The medians of `ends_off` over the copies of each attack that score so much."""
    off: dict[str, list[float]] = {}
    for question, hits in pairs:
        for film in sorted({part.film for part in question.parts}):
            true = [part for part in question.parts if part.film == film]
            off.setdefault(question.attack, []).extend(ends_off(_named(film, hits, threshold), true))
    return {attack: float(np.median(some)) for attack, some in off.items() if some}


def ends_off(named: Sequence[Part], true: Sequence[Part]) -> list[float]:
    """How far each end of a true stretch is from the nearest end of a reported one, seconds.

    In the query and in the work by itself; where one true stretch begins as another ends, that is one end.
    """
    if not named:
        return []
    off = []
    for axis in ("query", "work"):
        reported = [end for one in named for end in getattr(one, axis)]
        ends = {round(end, 3) for one in true for end in getattr(one, axis)}
        off += [min(abs(end - other) for other in reported) for end in sorted(ends)]
    return off


def _named(film: str, hits: Sequence[Hit], threshold: float) -> list[Part]:
    """The stretches that are reported of a film by what scores so much."""
    return [
        Part(film, one.query, _ordered(one.work, one.work + one.speed * (one.query[1] - one.query[0])))
        for hit in hits
        if hit.track == film and hit.score >= threshold
        for one in hit.parts
    ]


def _ordered(one: float, other: float) -> Span:
    return min(one, other), max(one, other)


def overlap(named: Sequence[Part], true: Sequence[Part]) -> tuple[float, float]:
    """Precision and recall of the stretches of one pair; see `Places`."""
    common: tuple[list[Span], list[Span]] = ([], [])
    for one in named:
        for other in true:
            both = [_common(one.query, other.query), _common(one.work, other.work)]
            if all(end > start for start, end in both):
                for axis, span in zip(common, both, strict=True):
                    axis.append(span)
    shared = [_length(axis) for axis in common]

    def share(parts: Sequence[Part]) -> float:
        lengths = _length([part.query for part in parts]), _length([part.work for part in parts])
        if not min(lengths, default=0.0):
            return 0.0
        return shared[0] / lengths[0] * shared[1] / lengths[1]

    return share(named), share(true)


def _common(one: Span, other: Span) -> Span:
    return max(one[0], other[0]), min(one[1], other[1])


def _length(spans: Sequence[Span]) -> float:
    """Seconds that are in any of the spans."""
    total, reached = 0.0, -math.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def document(results: Mapping[str, Any]) -> str:
    """All tables in Markdown."""
    systems = results["systems"]
    ranks = [
        [
            name,
            f"{one['ranking']['micro_ap']:.3f}",
            f"{one['ranking']['recall_at_precision_90']:.3f}",
            f"{one['recall_at_precision_99']:.3f}",
            f"{one['ranking']['recall_at_1_percent_alarms']:.3f}",
            *(f"{one['places'][part]:.3f}" for part in ("f1", "precision", "recall")),
        ]
        for name, one in systems.items()
    ]
    ruled = [
        [
            name,
            rule,
            f"{at['recall']:.3f}",
            f"{at['false_alarms']} of {at['queries']}",
            str(at["wrong_matches"]),
            f"{one['moments'][rule][0]} of {results['about']['moments']}",
        ]
        for name, one in systems.items()
        for rule, at in one["at"].items()
    ]
    costs = [
        [
            name,
            f"{one['cpu_of_decoding']:.2f}",
            f"{one['index_cpu_of_decoding']:.2f}",
            f"{one['stored_per_hour'] / 1e6:.2f}",
        ]
        for name, one in systems.items()
    ]
    uploads = [
        [name, upload, f"{cost:.2f}"]
        for name, one in systems.items()
        for upload, cost in one.get("uploads", {}).items()
    ]
    columns = [one["recall_by_attack"] for one in systems.values()]
    by_attack = [
        [attack, *(f"{column[attack]:.2f}" for column in columns)]
        for attack in ATTACKS
        if attack in columns[0]
    ]
    off = [one.get("ends_by_attack", {}) for one in systems.values()]
    ends = [
        [attack, *(f"{one[attack]:.2f}" if attack in one else "" for one in off)]
        for attack in ATTACKS
        if any(attack in one for one in off)
    ]
    growth = [
        [
            f"{one['hours']:,}",
            f"{one['rows']:,}",
            f"{one['cpu_milliseconds']:.1f}",
            f"{one['bytes'] / 1e6:,.0f}",
            f"{one['recall']:.3f}",
        ]
        for one in results["growth"]
    ]
    head = ["", "µAP", "recall at 90 % precision", "at 99 %", "at 1 % alarms", "segment F1", "P", "R"]
    return "\n\n".join(
        (
            table(head, ranks),
            table(
                ["", "rule", "recall", "strangers that alarm", "wrong pairs", "other moments named"], ruled
            ),
            table(["", "CPU of a query, decoding's", "of registering", "MB an hour"], costs),
            "A minute of 1280 × 720 pixels:",
            table(["", "upload", "CPU, decoding's"], uploads),
            "Recall at 1 % alarms by attack:",
            table(["", *systems], by_attack),
            "Seconds by which ends of stretches are off, medians by attack:",
            table(["", *systems], ends),
            "Search among more hours:",
            table(["hours", "rows", "CPU of a query's frame, ms", "MB", "frames found"], growth),
        )
    )


def falls_short(ours: Mapping[str, Any], moments: int) -> list[str]:
    """Which of our targets are missed."""
    ranking = ours["ranking"]
    least = {
        "µAP": (ranking["micro_ap"], _MICRO_AP),
        "recall at 90 % precision": (ranking["recall_at_precision_90"], _RECALL[0]),
        "recall at 99 % precision": (ours["recall_at_precision_99"], _RECALL[1]),
        "segment F1": (ours["places"]["f1"], _F1),
        **{
            attack: (ours["recall_by_attack"][attack], recall)
            for attack, recall in _ATTACK_RECALL.items()
            if attack in ours["recall_by_attack"]
        },
    }
    short = [f"{what} {value:.3f} < {bound}" for what, (value, bound) in least.items() if value < bound]
    named = ours["moments"][_BLOCKED][0]
    if named > _MOMENTS * moments:
        short.append(f"{named} of {moments} other moments blocked as copies > {_MOMENTS:.0%}")
    short += [
        f"{name}: {cost:.2f} times its decoding > {_UPLOAD}"
        for name, cost in ours["uploads"].items()
        if cost > _UPLOAD
    ]
    if ours["stored_per_hour"] > _STORED:
        short.append(f"{ours['stored_per_hour']:,.0f} bytes an hour > {_STORED:,}")
    return short


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--media", type=Path, action="append", help="folder of origins; may be repeated")
    parser.add_argument(
        "--cache", type=Path, help="folder outside the repository where queries stay for later runs"
    )
    amounts = Amounts()
    parser.add_argument("--references", type=int, default=amounts.references, help="films to register")
    parser.add_argument(
        "--strangers", type=int, default=amounts.strangers, help="films that are never registered"
    )
    parser.add_argument(
        "--moments", type=int, default=amounts.moments, help="films half of which is registered"
    )
    parser.add_argument("--per-attack", type=int, default=amounts.per_attack, help="copies by each attack")
    parser.add_argument("--attacks", nargs="+", choices=list(ATTACKS), default=list(ATTACKS))
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--only", nargs="+", choices=list(PROGRAMS), default=list(PROGRAMS), help="leave out others"
    )
    parser.add_argument("--growth", type=int, nargs="*", default=list(GROWTH), help="hours to search among")
    parser.add_argument("--uploads", action="store_true", help="ask about a minute of 720p too, for its cost")
    parser.add_argument("--prepare", action="store_true", help="write the queries and stop")
    parser.add_argument("--smoke", action="store_true", help="a few made-up films, seconds")
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument(
        "--carry", type=Path, help="results of the same queries, for what this run leaves out: others, growth"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-video-") as scratch:
        folder = options.cache or Path(scratch)
        if options.smoke or not options.media:
            amounts = Amounts(2, 1, 0, 1, SMOKE)
            films = video_media.made_up(3, 6.0, folder / "films")
            one_film: list[list[str]] = []
        else:
            amounts = Amounts(
                options.references, options.strangers, options.moments, options.per_attack, options.attacks
            )
            films, one_film = video_media.apart(video_media.load(options.media), folder)
        sides = video_media.split(films, amounts, random.Random(options.seed))
        plan = video_media.make(sides, amounts, options.seed, folder / "queries")
        long = video_media.long_film([*sides.strange, *sides.registered], LONG, folder)
        uploads = {}
        if options.uploads:
            for name, some in (
                ("of strange films", sides.strange),
                ("of registered films", sides.registered),
            ):
                uploads[name] = video_uploads.upload(some, folder / "uploads" / f"{name}.mp4")
        if options.prepare:
            print(f"{len(plan.references)} films to register, {len(plan.questions)} queries in {folder}")
            return 0
        measured = measure([PROGRAMS[name] for name in options.only], plan, long, uploads)
        growth = (
            [] if options.smoke else video_growth.grown([one.path for one in sides.strange], options.growth)
        )
    results: dict[str, Any] = {
        "about": _about(sides, plan, one_film, options.seed),
        "systems": {name: asdict(one) for name, one in measured.items()},
        "growth": [asdict(one) for one in growth],
    }
    results = json.loads(json.dumps(results, ensure_ascii=False))
    if options.carry:
        results = carried(results, json.loads(options.carry.read_text(encoding="utf-8")))
    print(document(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    short = []
    if "copyhound" in options.only:
        short = falls_short(results["systems"][Copyhound.name], results["about"]["moments"])
    for line in short:
        print(f"MISSED: {line}")
    return int(bool(short) and not options.smoke)


def carried(results: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Results with what they leave out as an earlier run had it.

    Raises:
        ValueError: If that run asked other queries.
    """
    if any(results["about"][name] != earlier["about"][name] for name in _SAME_QUERIES):
        raise ValueError(
            "the earlier run asked other queries: leave --carry out, or run with its media and seed"
        )
    names = dict.fromkeys((*earlier["systems"], *results["systems"]))
    systems = {name: results["systems"].get(name) or earlier["systems"][name] for name in names}
    kept = [name for name in systems if name not in results["systems"]]
    return {
        "about": {**results["about"], "carried": kept},
        "systems": systems,
        "growth": results["growth"] or earlier["growth"],
    }


_SAME_QUERIES: Final = (
    "seed", "references", "origins", "strange_origins", "queries", "copies", "strange_queries", "moments",
)  # fmt: skip
"""Parts of ``about`` that are the same where the queries are."""


def _about(sides: Sides, plan: Plan, one_film: Sequence[Sequence[str]], seed: int) -> dict[str, Any]:
    asked = [one for question in plan.questions if not question.near for one in question.asked]
    return {
        "seed": seed,
        "references": len(plan.references),
        "hours": sum(plan.seconds.values()) / 3600,
        "origins": _origins(sides.registered),
        "strange_films": len(sides.strange),
        "strange_origins": _origins([*sides.strange, *sides.moments]),
        "queries": len(plan.questions),
        "copies": sum(one.target is not None for one in asked),
        "strange_queries": sum(one.target is None for one in asked),
        "moments": sum(bool(question.near) for question in plan.questions),
        "one_film": one_film,
        "load": os.getloadavg(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "av", "opencv-python-headless", "faiss-cpu")},
    }


def _origins(films: Sequence[Film]) -> dict[str, int]:
    names = [film.origin for film in films]
    return {name: names.count(name) for name in sorted(set(names))}


if __name__ == "__main__":
    raise SystemExit(main())
