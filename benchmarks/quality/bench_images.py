"""Which attacked pictures are found, and what alarms wrongly: the running service against its peers.

    python -m benchmarks.quality.bench_images --smoke
    python -m benchmarks.quality.bench_images --media DIR --media DIR --json quality_images.json

The protocol is DISC21's. Of the pictures, a third is registered and copied by every attack, a third is
registered and never asked about, a third is unrelated: asked about, half of it attacked, and never
registered. The service runs as it ships and is asked over gRPC, with min_probability 0, so that the ranking
below its thresholds counts too. Then it is asked about pictures that look alike by nature (`plain`), in a
catalogue of their own.

The exit status is 1 if it ranks worse than Meta's PDQ rule, or alarms oftener from its action threshold on.
"""

import argparse
import asyncio
import io
import json
import logging
import platform
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import copyhound
from benchmarks.quality import media, metrics, peers, tables
from benchmarks.quality.attacks import ATTACKS, Hand
from benchmarks.quality.media import Medium
from benchmarks.quality.metrics import Answers, Asked, Found, System
from benchmarks.quality.plain import PLAIN
from benchmarks.speed.planted import plant
from service import logs
from service.app import running
from service.matching.score import Scorer
from service.settings import Settings

SEED: Final = 2
"""Of the split and the attacks; `fit_score` uses another."""
OURS: Final = "Copyhound"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is registered and what is asked.

    Attributes:
        references: Files by name.
        queries: What is asked, and with which file.
        refused: Names of the references that the service refused as flat; peers take them.
    """

    references: Mapping[str, bytes]
    queries: Sequence[tuple[Asked, bytes]]
    refused: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Order:
    """A query to be made: a picture and what is done to it."""

    asked: Asked
    medium: Medium
    backdrops: tuple[Medium, ...]
    seed: int


def plan(collection: Sequence[Medium], seed: int, per_attack: int) -> Plan:
    """Split the pictures and make the queries."""
    rng = random.Random(seed)
    shuffled = rng.sample(collection, len(collection))
    third = len(shuffled) // 3
    copied, strangers = shuffled[:third], shuffled[2 * third :]

    def order(medium: Medium, attack: str, target: str | None) -> _Order:
        others = [other for other in strangers if other is not medium]
        backdrops = tuple(rng.sample(others, min(3, len(others))))
        return _Order(Asked(medium.name, target, attack), medium, backdrops, rng.getrandbits(32))

    orders = [
        order(medium, attack, medium.name)
        for attack in ATTACKS
        for medium in rng.sample(copied, min(per_attack, len(copied)))
    ]
    for number, medium in enumerate(strangers):
        orders.append(order(medium, rng.choice(list(ATTACKS)) if number % 2 else "", None))
    with ProcessPoolExecutor() as processes:
        contents = list(processes.map(_attacked, orders, chunksize=8))
    return Plan(
        {medium.name: medium.content for medium in shuffled[: 2 * third]},
        [(one.asked, content) for one, content in zip(orders, contents, strict=True)],
    )


def _attacked(order: _Order) -> bytes:
    if not order.asked.attack:
        return order.medium.content
    hand = Hand(random.Random(order.seed), (other.picture() for other in cycle(order.backdrops)))
    return ATTACKS[order.asked.attack](order.medium.picture(), hand)


def plain_plan(seed: int, count: int) -> Plan:
    """Register `count` pictures of each kind that looks alike by nature, and ask about as many others."""

    def made(first: int) -> Iterator[tuple[str, str, bytes]]:
        for kind, make in PLAIN.items():
            for number in range(first, first + count):
                out = io.BytesIO()
                make(random.Random(f"{seed} {kind} {number}")).save(out, "PNG")
                yield f"{kind} {number}", kind, out.getvalue()

    references = {name: content for name, _, content in made(0)}
    return Plan(references, [(Asked(name, None, kind), content) for name, kind, content in made(count)])


async def ask_service(plan: Plan, *, fast: bool = False, distractors: int = 0) -> Answers:
    """Register and ask, through the service as it ships and its client.

    Args:
        plan: What is registered and asked.
        fast: Ask for fast answers.
        distractors: So many works more, of random fingerprints.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "hound"
        if distractors:
            plant(data, distractors, embedded=True)
        settings = Settings(data=data, listen="127.0.0.1:0", allow_anonymous=True)
        async with (
            running(settings) as service,
            copyhound.AsyncClient(f"127.0.0.1:{service.port}") as client,
        ):
            slots = asyncio.Semaphore(8)

            async def register(name: str, content: bytes) -> None:
                try:
                    async with slots:
                        await client.register(content, owner="benchmark", external_id=name)
                except copyhound.UnreadableMediaError as error:
                    if error.reason != "MEDIA_FEATURELESS":
                        raise
                    plan.refused.add(name)

            async def ask(content: bytes) -> list[Found]:
                async with slots:
                    answer = await client.match(content, min_probability=0.0, page_size=100, fast=fast)
                return [Found(match.external_id or "", match.probability) for match in answer.matches]

            await asyncio.gather(*(register(*one) for one in plan.references.items()))
            found = await asyncio.gather(*(ask(content) for _, content in plan.queries))
    return [(asked, some) for (asked, _), some in zip(plan.queries, found, strict=True)]


def systems(plan: Plan, distractors: int = 0) -> list[System]:
    """Ask the service, then the peers whose packages are installed."""
    settings = Settings(data=Path())
    thresholds = {"review": settings.review_threshold, "action": settings.action_threshold}
    asked = [
        System(OURS, asyncio.run(ask_service(plan)), thresholds),
        System(f"{OURS}, fast", asyncio.run(ask_service(plan, fast=True)), thresholds),
    ]
    if distractors:
        answers = asyncio.run(ask_service(plan, distractors=distractors))
        asked.append(System(f"{OURS}, {distractors:,} more works", answers, thresholds))
    if peers.missing():
        print(
            f"Meta's PDQ is left out: {', '.join(peers.missing())} is not installed; pip install '.[bench]'"
        )
    else:
        asked.append(peers.meta_pdq(plan.references, plan.queries))
    asked.append(peers.phash(plan.references, plan.queries))
    return asked


def measure(plan: Plan, distractors: int) -> dict[str, Any]:
    """Ask all systems, and measure their answers."""
    asked = systems(plan, distractors)
    ours = asked[0]
    return {
        "references": len(plan.references),
        "copies": sum(query.target is not None for query, _ in plan.queries),
        "unrelated_queries": sum(query.target is None for query, _ in plan.queries),
        "systems": {
            system.name: {
                **asdict(metrics.rank(system.answers, len(plan.references))),
                "at": {
                    name: asdict(metrics.at(system.answers, one)) for name, one in system.thresholds.items()
                },
            }
            for system in asked
        },
        "reliability": asdict(metrics.reliability(ours.answers)),
        "false_alarms": metrics.false_alarms(ours.answers, ours.thresholds["review"]),
    }


def measure_plain(plan: Plan, per_kind: int) -> dict[str, Any]:
    """Count which kinds that look alike by nature alarm."""
    alarms = {}
    for system in systems(plan):
        for rule, threshold in system.thresholds.items():
            by_kind = dict.fromkeys(PLAIN, 0)
            for query, found in system.answers:
                by_kind[query.attack] += any(one.score >= threshold for one in found)
            alarms[f"{system.name} {rule}"] = by_kind
    refused = Counter(name.rpartition(" ")[0] for name in plan.refused)
    return {
        "references_per_kind": per_kind,
        "queries_per_kind": per_kind,
        "refused": {kind: refused[kind] for kind in PLAIN},
        "alarms": alarms,
    }


def falls_short(results: Mapping[str, Any]) -> list[str]:
    """What is worse than Meta's rule, if that was asked."""
    images = results["images"]
    ours, meta = images["systems"][OURS], images["systems"].get("PDQ (Meta)")
    if meta is None:
        return []
    short = []
    if ours["micro_ap"] < meta["micro_ap"]:
        short.append(f"{OURS} ranks worse than PDQ (Meta)")
    (rule,) = meta["at"].values()
    if ours["at"]["action"]["false_alarms"] > rule["false_alarms"] + 0.01 * rule["queries"]:
        short.append(f"{OURS} alarms oftener than PDQ (Meta)")
    return short


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--media", type=Path, action="append", help="folder of pictures; may be repeated")
    parser.add_argument("--per-attack", type=int, default=30, help="copies made by each attack")
    parser.add_argument("--per-kind", type=int, default=50, help="pictures of each kind that looks alike")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--distractors", type=int, default=0, help="ask also among so many more works")
    parser.add_argument("--smoke", action="store_true", help="few pictures, seconds")
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args()
    logs.configure(json_lines=False, level=logging.WARNING)
    collection = media.load(options.media) if options.media else media.shipped()
    per_attack, per_kind = (1, 2) if options.smoke else (options.per_attack, options.per_kind)
    results = {
        "about": {
            "sources": collection.sources,
            "seed": options.seed,
            "per_attack": per_attack,
            "score": Scorer.load().revision,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "pillow", "imagehash")},
        },
        "images": measure(plan(collection.media, options.seed, per_attack), options.distractors),
        "plain": measure_plain(plain_plan(options.seed, per_kind), per_kind),
    }
    print(tables.document(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    short = falls_short(results)
    for line in short:
        print(f"MISSED: {line}")
    return int(bool(short) and not options.smoke)


if __name__ == "__main__":
    raise SystemExit(main())
