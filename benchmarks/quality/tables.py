"""The results of `bench_images` in Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.quality.attacks import ATTACKS
from benchmarks.quality.plain import PLAIN


def document(results: Mapping[str, Any]) -> str:
    """All tables, with a line above each that says what it shows."""
    images, plain = results["images"], results["plain"]
    scale = images["reliability"]
    asked = (
        f"{images['copies']:,} copies by {len(ATTACKS)} attacks, and {images['unrelated_queries']:,} "
        f"unrelated queries, against {images['references']:,} registered pictures:"
    )
    calibrated = (
        f"All pairs returned by probability (Brier score {scale['brier']:.4f}, calibration error "
        f"{scale['calibration_error']:.4f}):"
    )
    alike = (
        f"Queries that alarm, of {plain['queries_per_kind']} that by nature look like "
        f"{plain['references_per_kind']} registered pictures of their kind:"
    )
    parts = (
        *(asked, _ranking(images["systems"])),
        *("Recall by attack, at 1 % alarms:", _by_attack(images["systems"])),
        *(calibrated, _reliability(scale["bins"])),
        *(alike, _plain(plain["refused"], plain["alarms"])),
    )
    return "\n\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Any table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ranking(systems: Mapping[str, Any]) -> str:
    head = ["", "µAP", "recall at 90 % precision", "recall at 1 % alarms", "at 1 pair in a million"]
    head += ["rule", "recall", "false alarms", "wrong pairs"]
    measures = (
        "micro_ap",
        "recall_at_precision_90",
        "recall_at_1_percent_alarms",
        "recall_at_1_in_a_million",
    )
    rows = []
    for name, system in systems.items():
        ranking = [f"{system[measure]:.3f}" for measure in measures]
        for rule, one in system["at"].items():
            alarms = f"{one['false_alarms']} of {one['queries']}"
            rows.append([name, *ranking, rule, f"{one['recall']:.3f}", alarms, str(one["wrong_matches"])])
    return table(head, rows)


def _by_attack(systems: Mapping[str, Any]) -> str:
    columns = {name: one["by_attack_at_1_percent_alarms"] for name, one in systems.items()}
    rows = [[attack, *(f"{column[attack]:.2f}" for column in columns.values())] for attack in ATTACKS]
    return table(["", *columns], rows)


def _reliability(bins: Sequence[Mapping[str, Any] | None]) -> str:
    rows = [
        [
            f"{place / 10:.1f} to {(place + 1) / 10:.1f}",
            str(one["count"]),
            f"{one['mean_probability']:.3f}",
            f"{one['share_of_copies']:.3f}",
        ]
        for place, one in enumerate(bins)
        if one
    ]
    return table(["probability", "pairs", "mean probability", "share of copies"], rows)


def _plain(refused: Mapping[str, int], alarms: Mapping[str, Mapping[str, int]]) -> str:
    columns = {"refused as references": refused, **alarms}
    rows = [[kind, *(str(by_kind[kind]) for by_kind in columns.values())] for kind in PLAIN]
    return table(["", *columns], rows)
