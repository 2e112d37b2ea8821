"""The arms of the experiment: what is selected, trained and probed, each by the `curator` command."""

from __future__ import annotations

import json
import os
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.commands import curator
from benchmarks.data import DATA, describe_machine
from benchmarks.groups import NO_CLASS, OWN_TARGETS, classes_of_groups, label_of, photo_of, read_samples
from curator.encoders import copy_at_size

__all__ = ["ARMS", "PRECISION", "PROBES", "SIZES", "STEPS", "TARGETS", "Experiment", "Target"]

TINY = Path(os.environ.get("CURATOR_TINY_DATA", "../shared/tiny"))
# The photos, pool and test photos of the last are those of DATA.
TARGETS = (*OWN_TARGETS, "groceries")
# Views are 32 px; whole images are probed at twice the size, too, since objects in random crops are larger.
SIZES = (32, 64)
PROBES = ("linear", "knn 1")
# Told, so that it is the same on every machine: `auto` gives fp32 where the CPU has no bf16 arithmetic.
PRECISION = "bf16"
# Steps between the nearest-neighbour probes that the curves are made of.
PROBED_EVERY = 500
# Of every arm, unless told otherwise.
STEPS = 2500


@dataclass(frozen=True)
class Target:
    """A group of classes: its photos, labelled ones to test with, a pool, and the pool's samples of its classes.

    Attributes:
        name: of the group.
        data: the name of the set that it is of; targets of a set share the pool.
        photos: the shard of its unlabelled photos.
        test: the shards of its photos to test with.
        label: where its labels are, as `curator probe --label` takes it.
        pool: the shards of the pool.
        keys: of all samples of the pool.
        relevant: those of its classes; for measuring and for the oracle, never for selecting. As many are the budget.
    """

    name: str
    data: str
    photos: str
    test: str
    label: str
    pool: str
    keys: tuple[str, ...]
    relevant: frozenset[str]


class Experiment:
    """One number of steps at one precision, in a folder of its own."""

    def __init__(self, work: Path, steps: int, precision: str = PRECISION, compiled: bool = False) -> None:
        self.work, self.steps, self.precision, self.compiled = work, steps, precision, compiled
        self._locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)

    def target(self, name: str) -> Target:
        """A target, by name."""
        if name in OWN_TARGETS:
            data, pool, label = "tiny", f"{TINY}/pool-*.tar", "cls"
            photos, test = f"{TINY}/{name}-target-000000.tar", f"{TINY}/{name}-test-000000.tar"
        else:
            data, pool, label = "grocery", f"{DATA}/pool-*.tar", "json:label"
            photos, test = f"{DATA}/target-000000.tar", f"{DATA}/probe-test-*.tar"
        classes = self._classes(data, pool)
        members = classes_of_groups(TINY)[name] if name in OWN_TARGETS else {*classes.values()} - {NO_CLASS}
        relevant = frozenset(key for key, number in classes.items() if number in members)
        return Target(name, data, photos, test, label, pool, tuple(classes), relevant)

    def arm(self, target: Target, name: str, seed: int) -> dict[str, Any]:
        """Select, train and probe one arm; what it gave."""
        beside, chosen = ARMS[name](self, target, seed)
        relevant = [key in target.relevant for key in chosen]
        out = self.work / f"train-{target.name}-{_slug(name)}-{seed}"
        self._train(target, out, seed, *beside)
        correct = {str(size): self._probe(target, out, size) for size in SIZES}
        return {
            "target": target.name,
            "arm": name,
            "seed": seed,
            "steps": self.steps,
            "added": len(chosen),
            "relevant": float(np.mean(relevant)) if chosen else None,
            "precision": self.precision,
            "compiled": self.compiled,
            "machine": describe_machine(),
            "tested": pq.read_metadata(out / f"predictions-{SIZES[0]}.parquet").num_rows,
            "curve": _curve(out),
            "correct": correct,
        }

    def _train(self, target: Target, out: Path, seed: int, *flags: str) -> None:
        length = ["--steps", str(self.steps), "--batch-size", "256", "--image-size", str(SIZES[0])]
        how = ["--arch", "small_resnet", *length, "--seed", str(seed), "--save-every", "250", "--resume"]
        how += ["--precision", self.precision]
        sides = ["--probe-train", target.photos, "--probe-test", target.test, "--probe-label", target.label]
        how += ["--compile"] * self.compiled
        told = ["--probe-every", str(PROBED_EVERY), *sides]
        # The one core that an arm has is faster without a second process on it.
        curator("train", "--target", target.photos, "--out", str(out), *how, "--loader-workers", "0", *told, *flags)

    def _probe(self, target: Target, out: Path, size: int) -> dict[str, str]:
        """Which test photos each probe names rightly: a bit a photo in the order of their keys, as hexadecimal text."""
        encoder, predictions = out / f"encoder-{size}.pt", out / f"predictions-{size}.parquet"
        copy_at_size(str(out / "encoder.pt"), str(encoder), size)
        sides = ["--train", target.photos, "--test", target.test, "--label", target.label]
        told = ["--seeds", "1", "--precision", self.precision, "--predictions", str(predictions), "--json"]
        curator("probe", "--encoder", f"checkpoint:{encoder}", *sides, *told)
        table = pq.read_table(predictions).sort_by("key")
        return {probe: _as_text(_right(table, probe)) for probe in PROBES}

    def coreset(self, target: Target, name: str, encoder: str, seed: int, *flags: str) -> tuple[list[str], list[str]]:
        """Select by an encoder; the flags to train on it beside the target, and the keys of what was chosen."""
        out = self.work / f"select-{target.name}-{_slug(name)}-{seed}"
        where = ["--target", target.photos, "--pool", self._pool(target, encoder), "--out", str(out)]
        how = ["--encoder", encoder, "--budget", str(len(target.relevant)), "--seed", str(seed), "--manifest-only"]
        # Arms that share a selection may run side by side; others are not held up.
        with self._locks[out]:
            curator("select", *where, *how, "--no-report", *flags)
        keys = pq.read_table(out / "selection" / "selected.parquet")["key"].to_pylist()
        return ["--shards", str(out / "shards" / "manifest.parquet")], keys

    def oracle(self, target: Target) -> tuple[list[str], list[str]]:
        """Every sample of the pool that is of the target's classes, by its label."""
        folder = self.work / f"oracle-{target.name}"
        with self._locks[folder]:
            if not folder.exists():
                _write_folder(folder, target)
        return ["--shards", str(folder)], sorted(target.relevant)

    def _pool(self, target: Target, encoder: str) -> str:
        """The pool, embedded once where the encoder does not change with the seed."""
        if encoder != "lite0":
            return target.pool
        out = self.work / f"{target.data}-lite0"
        with self._locks[out]:
            curator("embed", "--pool", target.pool, "--out", str(out), "--encoder", "lite0")
        return str(out / "pool")

    def _classes(self, data: str, pool: str) -> dict[str, int]:
        """Key -> class of every sample of a pool, -1 for none; read once."""
        kept = self.work / f"{data}-classes.json"
        with self._locks[kept]:
            if not kept.exists():
                self.work.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps({sample.key: label_of(sample)[0] for sample in read_samples(pool)}))
        classes: dict[str, int] = json.loads(kept.read_text())
        return classes


def _with(flags: list[str], of: str) -> Callable[[Experiment, Target, int], tuple[list[str], list[str]]]:
    """Another way of training on what another arm selects."""

    def arm(run: Experiment, target: Target, seed: int) -> tuple[list[str], list[str]]:
        beside, chosen = ARMS[of](run, target, seed)
        return [*beside, *flags], chosen

    return arm


LITE0 = "target + SimCore, lite0"
ARMS: dict[str, Callable[[Experiment, Target, int], tuple[list[str], list[str]]]] = {
    "target only": lambda run, target, seed: ([], []),
    "target + random": lambda run, target, seed: run.coreset(target, "random", "lite0", seed, "--selector", "random"),
    "target + SimCore, warm-up": lambda run, target, seed: run.coreset(target, "warmup", "warmup", seed),
    LITE0: lambda run, target, seed: run.coreset(target, "lite0", "lite0", seed),
    "target + csls, lite0": lambda run, target, seed: run.coreset(target, "csls", "lite0", seed, "--selector", "csls"),
    "target + whole pool": lambda run, target, seed: (["--shards", target.pool], list(target.keys)),
    "target + oracle": lambda run, target, seed: run.oracle(target),
    f"{LITE0}, last fifth on the target": _with(["--finish-on-target", "20%"], LITE0),
    f"{LITE0}, a quarter of each batch from the target": _with(["--target-share", "25%"], LITE0),
}


def _curve(out: Path) -> list[tuple[int, float]]:
    """Steps done -> accuracy of the nearest neighbour, at the size of the views."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"] + 1, line["knn 1"]) for line in lines if "knn 1" in line]


def _right(table: Any, probe: str) -> NDArray[np.bool_]:
    predicted = [labels[0] for labels in table[probe.replace(" ", "_")].to_pylist()]
    return np.array(table["label"].to_pylist()) == np.array(predicted)


def _as_text(right: NDArray[np.bool_]) -> str:
    return np.packbits(right).tobytes().hex()


def _slug(name: str) -> str:
    return name.replace("target + ", "").replace(",", "").replace(" ", "-")


def _write_folder(folder: Path, target: Target) -> None:
    half_written = folder.with_name(f"{folder.name}.part")
    half_written.mkdir(parents=True, exist_ok=True)
    for sample in read_samples(target.pool, photos=True):
        if sample.key in target.relevant:
            (half_written / f"{sample.key}.jpg").write_bytes(photo_of(sample))
    half_written.rename(folder)
