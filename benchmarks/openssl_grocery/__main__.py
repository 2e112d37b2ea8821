"""Train on the target alone, and with each coreset beside it; probe; compare over seeds.

    python -m benchmarks.openssl_grocery WORK [--seeds 3] [--steps 900] [--image-size 64] [--jobs CORES]

Needs the shards of CURATOR_TEST_DATA: 648 grocery photos of 81 classes as target, a pool of 10,069 images of which
22.7% are grocery photos, and 2,485 labelled photos to test with. Labels measure, they never select.

Everything is done by the `curator` command. Every arm takes the same number of optimiser steps, and what is finished in
WORK is not done again: stop it and run it again as you like. Lines of finished arms are added to results.jsonl beside
this file; the table is made from them. As many arms train at once as there are cores, each on a core of its own: a core
that waits for no other does more. On two cores they take some four hours.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from scipy import stats

from benchmarks.data import describe_machine
from curator.encoders.checkpoint import copy_at_size
from curator.encoders.load import load_backbone
from curator.shards.read import read_source
from curator.sources import find_sources
from curator.types import RawSample

DATA = Path(os.environ.get("CURATOR_TEST_DATA", "../shared/data"))
TARGET = str(DATA / "target-000000.tar")
POOL = [str(path) for path in sorted(DATA.glob("pool-*.tar"))]
TEST = [str(path) for path in sorted(DATA.glob("probe-test-*.tar"))]
RESULTS = Path(__file__).parent / "results.jsonl"
BUDGET = 1700
BATCH = 128
PROBES = ("linear", "knn 1", "knn 20")


class Experiment:
    """One size of the experiment, in a folder of its own."""

    def __init__(self, work: Path, steps: int, image_size: int) -> None:
        self.work, self.steps, self.image_size = work, steps, image_size
        self.sources = _sources_of_samples()
        self._shared = threading.Lock()

    def arm(self, name: str, seed: int) -> dict[str, Any]:
        """Train and probe one arm; what it gave."""
        shards, chosen = ARMS[name](self, seed)
        out = self.work / f"train-{_slug(name)}-{seed}"
        length = ["--steps", str(self.steps), "--batch-size", str(BATCH), "--image-size", str(self.image_size)]
        where = ["--target", TARGET, *(["--shards", *shards] if shards else []), "--out", str(out)]
        curator("train", *where, "--arch", "resnet18", *length, "--seed", str(seed), "--save-every", "50", "--resume")
        encoder = f"checkpoint:{out}/encoder.pt"
        sides = ["--train", TARGET, "--test", *TEST, "--label", "json:label"]
        probe = json.loads(curator("probe", "--encoder", encoder, *sides, "--seeds", "1", "--json"))
        return {
            "arm": name,
            "seed": seed,
            "steps": self.steps,
            "image_size": self.image_size,
            "added": len(chosen),
            "precision": float(np.mean([self.sources[key] == "grocery" for key in chosen])) if chosen else None,
            "machine": describe_machine(),
        } | {probe_name: probe["probes"][probe_name]["accuracy"] for probe_name in PROBES}

    def coreset(self, name: str, encoder: str, seed: int, *flags: str) -> tuple[list[str], list[str]]:
        """Select by an encoder; the manifest's URL and the keys of what was chosen."""
        out = self.work / f"select-{_slug(name)}-{seed}"
        where = ["--target", TARGET, "--pool", *self.pool(encoder), "--out", str(out)]
        how = ["--encoder", encoder, "--budget", str(BUDGET), "--seed", str(seed), "--manifest-only"]
        curator("select", *where, *how, *flags)
        keys = pq.read_table(out / "selection" / "selected.parquet")["key"].to_pylist()
        return [str(out / "shards" / "manifest.parquet")], keys

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
    "target + whole pool": lambda run, seed: (POOL, list(run.sources)),
}


def curator(*words: str) -> str:
    """Run the command; its standard output."""
    print("curator", *words, file=sys.stderr, flush=True)
    return subprocess.run(
        [sys.executable, "-m", "curator_pipelines", *words], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def _slug(name: str) -> str:
    return name.replace("target + ", "").replace(",", "").replace(" ", "-")


def _sources_of_samples() -> dict[str, str]:
    """Key -> which collection a sample of the pool is from."""
    found = {}
    for source in find_sources(POOL, "--pool", folders=False):
        for sample in read_source(source, keep=lambda member: member.ext == "json"):
            if isinstance(sample, RawSample):
                beside = next(member.data for member in sample.members if member.ext == "json")
                found[sample.key] = json.loads(beside or b"{}")["source"]
    return found


def _table(lines: list[dict[str, Any]], steps: int, image_size: int) -> str:
    names = [*PROBES, "precision"]
    rows = ["| arm | added | seeds | " + " | ".join(names) + " |", "|---" * (len(names) + 3) + "|"]
    for arm in ARMS:
        mine = [line for line in lines if (line["arm"], line["steps"], line["image_size"]) == (arm, steps, image_size)]
        if mine:
            cells = [_interval([line[name] for line in mine]) for name in names]
            rows.append(f"| {arm} | {mine[0]['added']:,} | {len(mine)} | " + " | ".join(cells) + " |")
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


def main() -> None:
    """Do what is not done, and print the table of all seeds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.openssl_grocery")
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    flags = parser.parse_args()
    experiment = Experiment(flags.work, flags.steps, flags.image_size)
    known = {(line["arm"], line["seed"], line["steps"], line["image_size"]) for line in _lines()}
    open_arms = [
        (arm, seed)
        for seed in range(flags.seeds)
        for arm in ARMS
        if (arm, seed, flags.steps, flags.image_size) not in known
    ]
    with _on_own_cores(flags.jobs) as jobs:
        for result in jobs.map(lambda arm: experiment.arm(*arm), open_arms):
            with RESULTS.open("a") as file:
                file.write(json.dumps(result) + "\n")
            print(json.dumps(result), flush=True)
    print(_table(_lines(), flags.steps, flags.image_size))


def _on_own_cores(jobs: int) -> ThreadPoolExecutor:
    """Threads whose commands each see a share of the cores."""
    cores = sorted(os.sched_getaffinity(0))
    shares: SimpleQueue[list[int]] = SimpleQueue()
    for job in range(jobs):
        shares.put(cores[job::jobs] or [cores[job % len(cores)]])
    # A thread's children inherit the cores of the thread.
    return ThreadPoolExecutor(jobs, initializer=lambda: os.sched_setaffinity(0, shares.get()))


if __name__ == "__main__":
    main()
