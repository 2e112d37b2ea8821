"""What a coreset is worth to self-supervised training: train on the target alone, and with each coreset beside it.

    python -m benchmarks.openssl_tiny WORK [--target NAME]... [--arm ARM]... [--seed N]... [--steps 2500]
        [--precision bf16] [--jobs CORES] [--compile]

Needs the shards of CURATOR_TINY_DATA (see `benchmarks.groups`: TINY): 650 to 800 photos of 64 px as target, a pool of
30,750 photos of 200 classes of which 15 to 18% are of the target's, and 1,950 to 2,400 labelled photos to test with.
The groceries are those of CURATOR_TEST_DATA (GROCERY there): 648 photos of 81 classes, a pool of 10,069 images of which
22.7% are groceries, and 2,485 photos to test with. Labels measure, and choose the oracle's images; they never select.

Every arm takes the same number of optimiser steps, and what is finished in WORK is not done again: stop it and run it
again as you like; other steps or another precision need another WORK. Lines of finished arms are added to results.jsonl
beside this file; the tables and the figure are made from them (`python -m benchmarks.openssl_tiny.tables`). As many
arms train at once as there are cores, each on a core of its own. An arm takes a core a quarter of an hour, and longer
beside other work. A CPU without bf16 arithmetic needs `--precision fp32`, and more time.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from benchmarks.commands import on_own_cores
from benchmarks.openssl_tiny.experiment import ARMS, PRECISION, STEPS, TARGETS, Experiment
from benchmarks.openssl_tiny.tables import RESULTS, read_results, tables


def main() -> None:
    """Do what is not done, and print the tables of all seeds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.openssl_tiny")
    parser.add_argument("work", type=Path)
    parser.add_argument("--target", action="append", choices=TARGETS)
    parser.add_argument("--arm", action="append", choices=list(ARMS))
    parser.add_argument("--seed", action="append", type=int)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default=PRECISION)
    parser.add_argument("--compile", action="store_true", help="the network; a sixth less time, other rounding")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    flags = parser.parse_args()
    experiment = Experiment(flags.work, flags.steps, flags.precision, flags.compile)
    known = {(line["target"], line["arm"], line["seed"]) for line in read_results(flags.steps, flags.precision)}
    asked = [
        (target, arm, seed)
        for seed in flags.seed or range(3)
        for target in flags.target or TARGETS
        for arm in flags.arm or ARMS
    ]

    def run(which: tuple[str, str, int]) -> None:
        target, arm, seed = which
        line = json.dumps(experiment.arm(experiment.target(target), arm, seed))
        with RESULTS.open("a") as file:
            file.write(line + "\n")

    with on_own_cores(flags.jobs) as jobs:
        list(jobs.map(run, [which for which in asked if which not in known]))
    print(tables(flags.steps, flags.precision))


if __name__ == "__main__":
    main()
