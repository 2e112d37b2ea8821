"""The arms of the experiment: what is selected, trained and probed, each by the `curator` command."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from benchmarks.commands import curator
from benchmarks.data import DATA, describe_machine
from curator.encoders import copy_at_size, load_backbone
from curator.sources import find_sources, read_source
from curator.types import RawSample

TARGET = str(DATA / "target-000000.tar")
POOL = [str(path) for path in sorted(DATA.glob("pool-*.tar"))]
TEST = [str(path) for path in sorted(DATA.glob("probe-test-*.tar"))]
BUDGET = 1700
BATCH = 128
# The same on every machine; `auto` would give fp32 where the CPU has no bf16 arithmetic.
NUMBERS = ["--precision", "bf16"]
PROBES = ("linear", "knn 1", "knn 20")


class Experiment:
    """One size of the experiment, in a folder of its own."""

    def __init__(self, work: Path, steps: int, image_size: int) -> None:
        self.work, self.steps, self.image_size = work, steps, image_size
        self.sources = _sources_of_samples()
        # Whole images are probed at twice the size, too, since objects in random crops are larger.
        self.probe_sizes = (image_size, 2 * image_size)
        self._shared = threading.Lock()

    def arm(self, name: str, seed: int) -> dict[str, Any]:
        """Train and probe one arm; what it gave."""
        beside, chosen = ARMS[name](self, seed)
        encoder = self.trained(name, seed, *beside)
        return {
            "arm": name,
            "seed": seed,
            "steps": self.steps,
            "image_size": self.image_size,
            "added": len(chosen),
            "precision": float(np.mean([self.sources[key] == "grocery" for key in chosen])) if chosen else None,
            "machine": describe_machine(),
            "accuracy": {str(size): accuracies(self.at_size(encoder, size)) for size in self.probe_sizes},
        }

    def trained(self, name: str, seed: int, *flags: str) -> Path:
        """Train a ResNet-18 on the target and what the flags add; where its encoder is."""
        out = self.work / f"train-{_slug(name)}-{seed}"
        length = ["--steps", str(self.steps), "--batch-size", str(BATCH), "--image-size", str(self.image_size)]
        how = ["--arch", "resnet18", *length, *NUMBERS, "--seed", str(seed), "--save-every", "50", "--resume"]
        curator("train", "--target", TARGET, "--out", str(out), *how, *flags)
        return out / "encoder.pt"

    def at_size(self, encoder: Path, size: int) -> Path:
        """The same weights, for images of another size."""
        path = encoder.with_name(f"encoder-{size}.pt")
        copy_at_size(str(encoder), str(path), size)
        return path

    def coreset(self, name: str, encoder: str, seed: int, *flags: str) -> tuple[list[str], list[str]]:
        """Select by an encoder; the flags to train on it beside the target, and the keys of what was chosen."""
        out = self.work / f"select-{_slug(name)}-{seed}"
        where = ["--target", TARGET, "--pool", *self.pool(encoder), "--out", str(out)]
        how = ["--encoder", encoder, "--budget", str(BUDGET), "--seed", str(seed), "--manifest-only"]
        curator("select", *where, *how, *flags)
        keys = pq.read_table(out / "selection" / "selected.parquet")["key"].to_pylist()
        return ["--shards", str(out / "shards" / "manifest.parquet")], keys

    def pool(self, encoder: str) -> list[str]:
        """The pool, embedded once where the encoder does not change with the seed."""
        if encoder != "lite0":
            return POOL
        with self._shared:
            curator("embed", "--pool", *POOL, "--out", str(self.work / "pool-lite0"), "--encoder", "lite0")
        return [str(self.work / "pool-lite0" / "pool")]

    def pretrained_warmup(self, seed: int) -> str:
        """An encoder that starts from ImageNet weights; trained on the target, and embedding, as a warm-up does."""
        weights = self.work / "lite0.pt"
        with self._shared:
            if not weights.exists():
                self.work.mkdir(parents=True, exist_ok=True)
                torch.save(load_backbone("lite0", None).model.state_dict(), weights)
        out = self.work / f"warmup-pretrained-{seed}"
        # A tenth of the usual rate: the weights are good already.
        how = ["--steps", "150", "--batch-size", "64", "--image-size", "64", "--lr", "0.01", "--seed", str(seed)]
        start = ["--arch", "tf_efficientnet_lite0", "--weights", str(weights)]
        curator("train", "--target", TARGET, "--out", str(out), *start, *how, "--save-every", "50", "--resume")
        copy_at_size(f"{out}/encoder.pt", f"{out}/enlarged.pt", 128)
        return f"checkpoint:{out}/enlarged.pt"


ARMS: dict[str, Callable[[Experiment, int], tuple[list[str], list[str]]]] = {
    "target only": lambda run, seed: ([], []),
    "target + random": lambda run, seed: run.coreset("random", "lite0", seed, "--selector", "random"),
    "target + SimCore, warm-up": lambda run, seed: run.coreset("warmup", "warmup", seed),
    "target + SimCore, lite0": lambda run, seed: run.coreset("lite0", "lite0", seed),
    "target + SimCore, pretrained warm-up": lambda run, seed: run.coreset(
        "pretrained", run.pretrained_warmup(seed), seed
    ),
    "target + whole pool": lambda run, seed: (["--shards", *POOL], list(run.sources)),
    # Selected anew, since other arms run at the same time.
    "target + SimCore, warm-up, half a batch": lambda run, seed: half_a_batch(
        *run.coreset("warmup-half", "warmup", seed)
    ),
}


def half_a_batch(flags: list[str], chosen: list[str]) -> tuple[list[str], list[str]]:
    """The same images, but as many of a batch from the target as from them."""
    return [*flags, "--target-share", "50%"], chosen


def accuracies(encoder: Path) -> dict[str, float]:
    """What the probes find in an encoder."""
    sides = ["--train", TARGET, "--test", *TEST, "--label", "json:label"]
    told = json.loads(curator("probe", "--encoder", f"checkpoint:{encoder}", *sides, "--seeds", "1", "--json"))
    return {name: told["probes"][name]["accuracy"] for name in PROBES}


def _slug(name: str) -> str:
    return name.replace("target + ", "").replace(",", "").replace(" ", "-")


def _sources_of_samples() -> dict[str, str]:
    """Key -> which collection a sample of the pool is from."""
    found = {}
    for source in find_sources(POOL, "pool", folders=False):
        for sample in read_source(source, keep=lambda member: member.ext == "json"):
            if isinstance(sample, RawSample):
                beside = next(member.data for member in sample.members if member.ext == "json")
                found[sample.key] = json.loads(beside or b"{}")["source"]
    return found
