"""At what size an encoder trained at 64 px should see images: precision of its coreset, and what a probe finds.

    python -m benchmarks.openssl_grocery.sizes WORK

Beside an untrained one, whose batch norms alone have seen the target, these are encoders of seed 0 that
`python -m benchmarks.openssl_grocery WORK` left: after a warm-up, and after 900 steps of 128 on the target. Takes some
twenty minutes on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.openssl_grocery.experiment import BATCH, Experiment, accuracies
from benchmarks.openssl_grocery.learn import untrained

SIZES = (64, 96, 128, 160)


def main() -> None:
    """Print a table of encoders and sizes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.openssl_grocery.sizes")
    parser.add_argument("work", type=Path)
    work = parser.parse_args().work
    experiment = Experiment(work, 900, 64)
    encoders = {
        "untrained": untrained(work, 0),
        "warm-up, 150 steps of 64": work / "select-warmup-0" / "warmup" / "encoder.pt",
        f"900 steps of {BATCH}": work / "train-target-only-0" / "encoder.pt",
    }
    print("| encoder | px | precision | linear | 1-NN |", "|---|---|---|---|---|", sep="\n")
    for name, trained in encoders.items():
        for size in SIZES:
            encoder = experiment.at_size(trained, size)
            label = f"sizes-{name.partition(',')[0].replace(' ', '-')}-{size}"
            _, keys = experiment.coreset(label, f"checkpoint:{encoder}", 0)
            precision = np.mean([experiment.sources[key] == "grocery" for key in keys])
            found = accuracies(encoder)
            print(f"| {name} | {size} | {precision:.3f} | {found['linear']:.3f} | {found['knn 1']:.3f} |", flush=True)


if __name__ == "__main__":
    main()
