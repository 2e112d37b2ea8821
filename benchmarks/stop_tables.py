"""The tables of `benchmarks.stop`."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.groups import GROCERIES

__all__ = ["print_altered", "print_plain", "print_told"]

RULES = {
    "auto": "auto",
    "paper": "paper, K = rows",
    "paper_100": "paper, K = 100",
    "authors": "authors, K = rows",
    "authors_100": "authors, K = 100",
}
UPPER_BOUND = "lite0 was trained with labels on ImageNet, from which these photos are cut: an upper bound"


def print_plain(lines: list[dict[str, Any]]) -> None:
    """Best rounds and rules, and their means."""
    _print_upper_bound(lines)
    print("\nF1 of the best round with K = target rows; that of each rule as a share of it (and rows chosen); that of")
    print("the whole pool, and of as many random rows as the best round has, as a share of it\n")
    _head("encoder, group", "target", "relevant", "best round", "F1", *RULES.values(), "everything", "random")
    for line in lines:
        best = line["best"]
        _row(
            f"{line['encoder']}, {line['group']}",
            f"{line['target']:,}",
            f"{line['relevant']:,} of {line['pool']:,}",
            f"{best['round']} ({best['chosen']:,})",
            f"{best['f1']:.3f}",
            *(_share(line[rule], best) for rule in RULES),
            *(f"{line[name] / best['f1']:.2f}" for name in ("everything", "random")),
        )
    best = [line["best"]["f1"] for line in lines]
    print(f"\nmean over {len(lines)} groups, and lowest:")
    for rule in RULES:
        shares = np.divide([line[rule]["f1"] for line in lines], best)
        print(f"{RULES[rule]:17} {shares.mean():.3f} {shares.min():.2f}")


def print_altered(lines: list[dict[str, Any]]) -> None:
    """Shares of the best round, and thresholds."""
    _print_upper_bound(lines)
    print("\nauto with altered targets, as a share of the best round with the same target (and rows chosen)\n")
    _head("encoder, group", "grey", "blurred", "tau", "tau, each photo twice", "tau, grey", "tau, blurred")
    for line in lines:
        targets = [line["grey"], line["blurred"]]
        _row(
            f"{line['encoder']}, {line['group']}",
            *(_share(target["auto"], target["best"]) for target in targets),
            *(f"{tau:.4f}" for tau in (line["tau"], line["tau_twice"], *(target["tau"] for target in targets))),
        )


def print_told(lines: list[dict[str, Any]]) -> None:
    """What a run would say of the ends of auto."""
    ends = {(line["encoder"], line["group"], "plain"): line for line in lines if line["kind"] == "plain"}
    for line in [line for line in lines if line["kind"] == "altered"]:
        ends |= {(line["encoder"], line["group"], name): line[name] for name in ("grey", "blurred")}
    print(
        "\nends of auto: share of the best F1, rows chosen for each centroid (below 1 a run warns), verdict (below .6)"
    )
    print()
    _head("encoder, group, target", "share", "rows a centroid", "verdict")
    for names, end in sorted(ends.items()):
        share, rows = end["auto"]["f1"] / end["best"]["f1"], end["auto"]["chosen"] / end["centroids"]
        _row(", ".join(names), f"{share:.2f}", f"{rows:.2f}", f"{end['verdict']:.2f}")


def _print_upper_bound(lines: list[dict[str, Any]]) -> None:
    if any(line["encoder"] == "lite0" and line["group"] not in GROCERIES for line in lines):
        print(f"\n{UPPER_BOUND}, for all groups but {', '.join(GROCERIES)}.")


def _share(end: dict[str, Any], best: dict[str, Any]) -> str:
    return f"{end['f1'] / best['f1']:.2f} ({end['chosen']:,})"


def _head(*cells: str) -> None:
    _row(*cells)
    _row(*["---"] * len(cells))


def _row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |")
