"""Do both methods learn on a small real set: nearest neighbours found by a net before and after it is trained.

    python -m benchmarks.openssl_grocery.learn WORK [--seeds 3]

Trains each method for 900 steps of 128 on the target alone; SimCLR's encoders are those that
`python -m benchmarks.openssl_grocery WORK` left, where it was run. Batch norms that have merely seen the target make a
net better, so there are two nets before training: as it is made, and after thirty steps at no rate.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks.commands import curator
from benchmarks.openssl_grocery.experiment import BATCH, TARGET, Experiment, accuracies
from curator.encoders import save_checkpoint
from curator_ssl.backbones import make_backbone


def main() -> None:
    """Print a table of nets and seeds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.openssl_grocery.learn")
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    flags = parser.parse_args()
    run = Experiment(flags.work, 900, 64)
    nets: dict[str, Callable[[int], Path]] = {
        "as it is made": lambda seed: _made(run, seed),
        "its norms have seen the target": lambda seed: untrained(run.work, seed),
        "SimCLR": lambda seed: run.trained("target only", seed),
        "BYOL": lambda seed: run.trained("byol", seed, "--method", "byol"),
    }
    print("| 1-NN of |" + "".join(f" seed {seed} |" for seed in range(flags.seeds)))
    print("|---" * (flags.seeds + 1) + "|")
    for name, net in nets.items():
        found = [accuracies(net(seed))["knn 1"] for seed in range(flags.seeds)]
        print(f"| {name} |" + "".join(f" {share:.3f} |" for share in found), flush=True)


def _made(run: Experiment, seed: int) -> Path:
    backbone = make_backbone("timm:resnet18", run.image_size, seed)
    path = run.work / f"made-{seed}.pt"
    save_checkpoint(
        str(path),
        architecture=backbone.architecture,
        preprocess=backbone.preprocess,
        state_dict=backbone.model.state_dict(),
        meta={},
    )
    return path


def untrained(work: Path, seed: int) -> Path:
    """Random weights; thirty steps at no rate give the batch norms their statistics."""
    out = work / f"untrained-{seed}"
    length = ["--steps", "30", "--batch-size", str(BATCH), "--lr", "1e-12", "--seed", str(seed), "--resume"]
    curator("train", "--target", TARGET, "--out", str(out), "--arch", "resnet18", "--image-size", "64", *length)
    return out / "encoder.pt"


if __name__ == "__main__":
    main()
