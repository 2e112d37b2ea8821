"""What a coreset is worth to self-supervised training: train on the target alone, and with each coreset beside it.

    python -m benchmarks.openssl_grocery WORK [--seeds 3] [--steps 900] [--image-size 64] [--jobs CORES] [--arm ARM]...

Needs the shards of CURATOR_TEST_DATA: 648 grocery photos of 81 classes as target, a pool of 10,069 images of which
22.7% are grocery photos, and 2,485 labelled photos to test with. Labels measure, they never select.

Every arm takes the same number of optimiser steps, and what is finished in WORK is not done again: stop it and run it
again as you like; other steps or sizes need another WORK. Lines of finished arms are added to results.jsonl beside
this file; the table is made from them. As many arms train at once as there are cores, each on a core of its own: a
core that waits for no other does more. On two cores they take some five hours.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.commands import on_own_cores
from benchmarks.openssl_grocery.experiment import ARMS, PROBES, Experiment

RESULTS = Path(__file__).parent / "results.jsonl"


def main() -> None:
    """Do what is not done, and print the table of all seeds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.openssl_grocery")
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--arm", action="append", choices=list(ARMS), help="train this arm only; may be repeated")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    flags = parser.parse_args()
    experiment = Experiment(flags.work, flags.steps, flags.image_size)
    known = {(line["arm"], line["seed"], line["steps"], line["image_size"]) for line in _lines()}
    open_arms = [
        (arm, seed)
        for seed in range(flags.seeds)
        for arm in flags.arm or ARMS
        if (arm, seed, flags.steps, flags.image_size) not in known
    ]
    with on_own_cores(flags.jobs) as jobs:
        for result in jobs.map(lambda arm: experiment.arm(*arm), open_arms):
            with RESULTS.open("a") as file:
                file.write(json.dumps(result) + "\n")
            print(json.dumps(result), flush=True)
    print(_table(_lines(), flags.steps, flags.image_size, experiment.probe_sizes))


def _table(lines: list[dict[str, Any]], steps: int, image_size: int, probe_sizes: Sequence[int]) -> str:
    columns = [(probe, str(size)) for probe in PROBES for size in probe_sizes]
    names = ["arm", "added", "precision", "seeds", *(f"{probe}, {size} px" for probe, size in columns)]
    rows = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for arm in ARMS:
        mine = [line for line in lines if (line["arm"], line["steps"], line["image_size"]) == (arm, steps, image_size)]
        if mine:
            precision = _interval([line["precision"] for line in mine])
            found = [_interval([line["accuracy"][size][probe] for line in mine]) for probe, size in columns]
            rows.append(f"| {arm} | {mine[0]['added']:,} | {precision} | {len(mine)} | " + " | ".join(found) + " |")
    return "\n".join(rows)


def _interval(values: list[Any]) -> str:
    """Mean and the 95% interval of Student's distribution over seeds."""
    if values[0] is None:
        return ""
    mean = f"{np.mean(values):.3f}"
    if len(values) == 1:
        return mean
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return f"{mean} ± {half:.3f}"


def _lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


if __name__ == "__main__":
    main()
