"""The tables and the figure of the experiment, from results.jsonl alone.

    python -m benchmarks.openssl_tiny.tables [--steps 2500] [--precision bf16] [--base ARM] [--figure FILE]

Differences are to the arm that --base names, the target alone unless told, over the seeds that both have. Intervals are
of seeds and test photos drawn anew; of one seed they are of photos alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.openssl_tiny.experiment import ARMS, PRECISION, PROBES, SIZES, STEPS

__all__ = ["RESULTS", "read_results", "tables"]

RESULTS = Path(__file__).parent / "results.jsonl"
BASE = "target only"
DRAWS = 2000
Line: TypeAlias = dict[str, Any]


def main() -> None:
    """Print the tables, and draw the curves."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.openssl_tiny.tables")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--precision", default=PRECISION)
    parser.add_argument("--base", choices=list(ARMS), default=BASE)
    parser.add_argument("--figure", type=Path)
    flags = parser.parse_args()
    print(tables(flags.steps, flags.precision, flags.base))
    if flags.figure:
        draw(flags.steps, flags.precision, flags.figure)


def read_results(steps: int, precision: str = PRECISION) -> list[Line]:
    """The finished arms of that many steps, at this precision."""
    lines = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    return [line for line in lines if (line["steps"], line["precision"]) == (steps, precision)]


def tables(steps: int, precision: str = PRECISION, base: str = BASE) -> str:
    """One table a target: accuracies, and the differences to an arm with their 95% intervals."""
    lines = read_results(steps, precision)
    return "\n\n".join(
        _table(name, _of_target(lines, name), base) for name in dict.fromkeys(line["target"] for line in lines)
    )


def _of_target(lines: list[Line], name: str) -> dict[str, dict[int, Line]]:
    """Arm -> seed -> what it gave."""
    return {
        arm: {line["seed"]: line for line in lines if (line["target"], line["arm"]) == (name, arm)}
        for arm in ARMS
        if any((line["target"], line["arm"]) == (name, arm) for line in lines)
    }


def _table(name: str, arms: dict[str, dict[int, Line]], base: str) -> str:
    columns = [(probe, size) for size in SIZES for probe in PROBES]
    heads = [name, "added", "relevant", "seeds"]
    for probe, size in columns:
        heads += [f"{probe}, {size} px", "more than alone" if base == BASE else f"more than {base}"]
    rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for arm, seeds in arms.items():
        first = next(iter(seeds.values()))
        relevant = [line["relevant"] for line in seeds.values()]
        cells = [
            arm,
            f"{first['added']:,}",
            f"{np.mean(relevant):.2f}" if relevant[0] is not None else "",
            str(len(seeds)),
        ]
        for probe, size in columns:
            right = {seed: _right(line, probe, size) for seed, line in seeds.items()}
            cells.append(f"{np.mean([row.mean() for row in right.values()]):.3f}")
            other = {seed: _right(line, probe, size) for seed, line in arms.get(base, {}).items()}
            cells.append("" if arm == base else _difference(right, other))
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _right(line: Line, probe: str, size: int) -> NDArray[np.bool_]:
    """Which test photos were named rightly, without the bits that fill up the last byte."""
    packed = np.frombuffer(bytes.fromhex(line["correct"][str(size)][probe]), np.uint8)
    return np.unpackbits(packed, count=line["tested"]).astype(bool)


def _difference(right: dict[int, NDArray[np.bool_]], other: dict[int, NDArray[np.bool_]]) -> str:
    """The mean difference over the seeds that both have, and its 95% interval: seeds and test photos drawn anew."""
    seeds = sorted(right.keys() & other.keys())
    if not seeds:
        return ""
    gains = np.stack([right[seed].astype(float) - other[seed] for seed in seeds])
    random = np.random.default_rng(0)
    drawn = np.empty(DRAWS)
    for draw in range(DRAWS):
        of_seeds = gains[random.integers(len(seeds), size=len(seeds))].mean(0)
        drawn[draw] = of_seeds[random.integers(len(of_seeds), size=len(of_seeds))].mean()
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{gains.mean():+.3f} ({low:+.3f} to {high:+.3f})"


def draw(steps: int, precision: str, path: Path) -> None:
    """Accuracy of the nearest neighbour over steps, one drawing a target, one line an arm: the mean of its seeds."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    lines = read_results(steps, precision)
    names = list(dict.fromkeys(line["target"] for line in lines))
    # The same in every drawing, whichever arms are finished.
    colours = {arm: f"C{number}" for number, arm in enumerate(ARMS)}
    figure, axes = pyplot.subplots(1, len(names), figsize=(4.6 * len(names), 4), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for arm, seeds in _of_target(lines, name).items():
            curves = np.array([line["curve"] for line in seeds.values()])
            axis.plot(curves[0, :, 0], curves[:, :, 1].mean(0), marker=".", label=arm, color=colours[arm])
        axis.set_title(name)
        axis.set_xlabel("steps of 256 images")
    axes[0][0].set_ylabel("accuracy of the nearest neighbour, 32 px", fontsize="small")
    named = {label: handle for axis in axes[0] for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named, loc="lower center", ncols=3, fontsize="small", frameon=False)
    figure.tight_layout(rect=(0, 0.04 + 0.05 * -(-len(named) // 3), 1, 1))
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
