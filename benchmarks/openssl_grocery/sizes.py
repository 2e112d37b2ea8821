"""At what size an encoder trained at 64 px should see images: precision of its coreset, and what a probe finds.

    python -m benchmarks.openssl_grocery.sizes WORK

Beside an untrained one, whose batch norms alone have seen the target, these are encoders of seed 0 that
`python -m benchmarks.openssl_grocery WORK` left: after a warm-up, and after 900 steps of 128 on the target. Takes some
twenty minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.openssl_grocery.__main__ import BATCH, TARGET, TEST, Experiment, curator
from curator.encoders.checkpoint import copy_at_size

SIZES = (64, 96, 128, 160)


def main() -> None:
    """Print a table of encoders and sizes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.openssl_grocery.sizes")
    parser.add_argument("work", type=Path)
    work = parser.parse_args().work
    experiment = Experiment(work, 900, 64)
    encoders = {
        "untrained": _untrained(work),
        "warm-up, 150 steps of 64": work / "select-warmup-0" / "warmup" / "encoder.pt",
        f"900 steps of {BATCH}": work / "train-target-only-0" / "encoder.pt",
    }
    print("| encoder | px | precision | linear | 1-NN |", "|---|---|---|---|---|", sep="\n")
    for name, trained in encoders.items():
        for size in SIZES:
            encoder = work / f"sizes-{name.partition(',')[0].replace(' ', '-')}-{size}.pt"
            copy_at_size(str(trained), str(encoder), size)
            spec = f"checkpoint:{encoder}"
            _, keys = experiment.coreset(encoder.stem, spec, 0)
            precision = np.mean([experiment.sources[key] == "grocery" for key in keys])
            sides = ["--train", TARGET, "--test", *TEST, "--label", "json:label"]
            probes = json.loads(curator("probe", "--encoder", spec, *sides, "--seeds", "1", "--json"))["probes"]
            linear, nearest = (probes[probe]["accuracy"] for probe in ("linear", "knn 1"))
            print(f"| {name} | {size} | {precision:.3f} | {linear:.3f} | {nearest:.3f} |", flush=True)


def _untrained(work: Path) -> Path:
    """Random weights; thirty steps at no rate give the batch norms their statistics."""
    out = work / "untrained"
    how = [
        "--arch",
        "resnet18",
        "--image-size",
        "64",
        "--steps",
        "30",
        "--batch-size",
        "64",
        "--lr",
        "1e-12",
        "--resume",
    ]
    curator("train", "--target", TARGET, "--out", str(out), *how)
    return out / "encoder.pt"


if __name__ == "__main__":
    main()
