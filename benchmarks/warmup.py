"""What a warm-up is worth: precision of SimCore by its encoder, and by the same network before the first step.

    python -m benchmarks.warmup --tiny FOLDER --data FOLDER --work FOLDER --results FILE [--seeds 0 1 2] [--first N]

Groups of Tiny-ImageNet (`--tiny`: `GROUP-target-*.tar`, `pool-*.tar` with `.cls`, `classes.json`): a target's classes
are relevant, every distinct target row is a centroid, and as many are chosen as are relevant in the pool. Cartons and
product groups (`--data`: shards whose `.json` holds `coarse` and `group`): the first 150 chosen for the photos of
cartons; one product group as the target, the grocery photos of the pool as the pool. What is done is in `--results`, a
line a case, and is not done again; encoders are in `--work`.

Floor: the untrained twin (same initial weights, size and preprocessing), measured in the same way, and the same twin
embedded by the means of its channels, since untrained networks find more by these. A table ends it: the gain is over
the better of the two.
"""

from __future__ import annotations

from curator_pipelines.executors import prepare_threads

prepare_threads()

import argparse  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import tarfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

from curator.encoders import copy_at_size, load_encoder  # noqa: E402
from curator.images import decode_image  # noqa: E402
from curator.search import MemoryPool  # noqa: E402
from curator.selection import Rules, select_simcore  # noqa: E402
from curator.settings import build  # noqa: E402
from curator_pipelines.config import WarmupConfig  # noqa: E402
from curator_pipelines.jobs.train import run_warmup  # noqa: E402
from curator_pipelines.run import Reporter  # noqa: E402

GROUPS = ("arthropods", "vehicles", "food")
# Milk, juice and yoghurt among the coarse classes of the grocery photos.
CARTONS = (19, 20, 27)
CARTON_SHARDS = 3
# Pixels: what the default warm-up embeds at.
SIDE = 64
IMAGES = ("jpg", "png")


@dataclass(frozen=True)
class Photos:
    """Images in memory with what is known of them.

    Attributes:
        pixels: uint8 (3, h, w) each.
        labels: the class number, or the JSON beside the image.
        members: name and bytes of each image's file.
    """

    pixels: list[torch.Tensor]
    labels: list[Any]
    members: list[tuple[str, bytes]]

    def only(self, is_kept: Callable[[Any], bool]) -> Photos:
        """Those whose label is asked for."""
        kept = [place for place, label in enumerate(self.labels) if is_kept(label)]
        columns = (self.pixels, self.labels, self.members)
        return Photos(*([column[place] for place in kept] for column in columns))


@dataclass(frozen=True)
class Case:
    """One choice.

    Attributes:
        name: of the case.
        target: the photos to warm up on.
        pool: the photos to choose from.
        relevant: which of them are right.
        budget: how many to choose.
    """

    name: str
    target: Photos
    pool: Photos
    relevant: np.ndarray
    budget: int


def main() -> None:
    """Do what is not done, and print all of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.warmup")
    parser.add_argument("--tiny", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--first", type=int, help="only so many of the Tiny-ImageNet pool")
    parser.add_argument("--only", nargs="+", help="names of cases")
    parser.add_argument("--epochs", help="of the warm-up, in place of the default")
    flags = parser.parse_args()
    done = [json.loads(line) for line in flags.results.read_text().splitlines()] if flags.results.exists() else []
    known = {(line["case"], line["seed"], line["pool"]) for line in done}
    cases = list(_cases(flags.tiny, flags.data, flags.first, flags.only))
    for seed in flags.seeds:
        for case in cases:
            if (case.name, seed, len(case.pool.labels)) in known:
                continue
            line = _measure(case, seed, flags.work / f"{case.name}-{seed}", flags.epochs)
            with flags.results.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
            done.append(line)
    _print_table(done)


def _cases(tiny: Path, data: Path, first: int | None, only: list[str] | None) -> Iterator[Case]:
    groups = json.loads((tiny / "classes.json").read_text())["groups"]
    names = [name for name in GROUPS if only is None or name in only]
    pool = _read(sorted(tiny.glob("pool-*.tar")), first) if names else Photos([], [], [])
    for name in names:
        relevant = np.isin(pool.labels, groups[name])
        yield Case(name, _read(sorted(tiny.glob(f"{name}-target-*.tar"))), pool, relevant, int(relevant.sum()))
    shards = sorted(data.glob("pool-*.tar"))
    photos = _read([data / "target-000000.tar"])
    if only is None or "cartons" in only:
        cartons = photos.only(lambda label: label["coarse"] in CARTONS)
        near = _read(shards[:CARTON_SHARDS])
        yield Case("cartons", cartons, near, np.array([label.get("coarse") in CARTONS for label in near.labels]), 150)
    for group in sorted({label["group"] for label in photos.labels}):
        if only is None or group in only:
            groceries = _read(shards).only(lambda label: label["source"] == "grocery")
            relevant = np.array([label["group"] == group for label in groceries.labels])
            target = photos.only(lambda label, group=group: label["group"] == group)
            yield Case(group, target, groceries, relevant, int(relevant.sum()))


def _measure(case: Case, seed: int, out: Path, epochs: str | None) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    shard = out / "target.tar"
    _write(shard, case.target.members)
    started, cpu = time.monotonic(), time.process_time()
    flags = {"target": [str(shard)], "out": str(out / "run"), "seed": seed, "device": "cpu"}
    run_warmup(build(WarmupConfig, flags | ({"warmup_epochs": epochs} if epochs else {})), Reporter())
    line = {"case": case.name, "seed": seed, "pool": len(case.pool.labels), "budget": case.budget}
    line |= {"base": round(float(case.relevant.mean()), 4)}
    line |= {"seconds": round(time.monotonic() - started), "cpu_seconds": round(time.process_time() - cpu)}
    by_means = out / "untrained-means.pt"
    twin = out / "run/warmup/untrained.pt"
    copy_at_size(str(twin), str(by_means), SIDE, "small_resnet")
    files = {"untrained": twin, "untrained, means": by_means, "warm-up": out / "run/encoder.pt"}
    return line | {name: round(_precision(case, f"checkpoint:{file}"), 4) for name, file in files.items()}


def _print_table(lines: list[dict[str, Any]]) -> None:
    print("| case | seed | pool | chosen | base rate | untrained | untrained, means | warm-up | gain over the better |")
    print("|" + "---|" * 9)
    for line in lines:
        twins = line["untrained"], line["untrained, means"]
        shares = [f"{share:.3f}" for share in (line["base"], *twins, line["warm-up"])]
        sizes = f"{line['pool']:,} | {line['budget']:,}"
        gain = line["warm-up"] - max(twins)
        print(f"| {line['case']} | {line['seed']} | {sizes} | {' | '.join(shares)} | {gain:+.3f} |")


def _precision(case: Case, encoder: str) -> float:
    """The share of relevant images among those chosen."""
    target, pool = (_embed(photos.pixels, encoder) for photos in (case.target, case.pool))
    chosen = select_simcore(MemoryPool(pool), np.unique(target, axis=0), Rules(budget=case.budget)).ids
    return float(case.relevant[np.asarray(chosen)].mean())


def _embed(images: list[torch.Tensor], name: str) -> np.ndarray:
    """float32 (n, d), unit rows, rounded as a run stores them."""
    encoder = load_encoder(name, device="cpu", batch_size=256)
    torch.set_num_threads(1)
    rows = []
    for first in range(0, len(images), encoder.batch_size):
        batch = torch.zeros(encoder.input_shape, dtype=torch.uint8)
        part = images[first : first + encoder.batch_size]
        for place, pixels in enumerate(part):
            batch[place] = encoder.preprocess.fit(pixels)
        rows.append(encoder.encode(batch)[: len(part)])
    return np.concatenate(rows).astype(np.float16).astype(np.float32)


def _read(shards: list[Path], first: int | None = None) -> Photos:
    photos = Photos([], [], [])
    for shard in shards:
        with tarfile.open(shard) as tar:
            members = [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
        images = {name.partition(".")[0]: (name, data) for name, data in members if name.endswith(IMAGES)}
        for name, data in members:
            key, _, ending = name.partition(".")
            if ending in ("cls", "json") and len(photos.labels) != first:
                photos.labels.append(json.loads(data))
                photos.pixels.append(decode_image(images[key][1]).pixels)
                photos.members.append(images[key])
    return photos


def _write(shard: Path, members: list[tuple[str, bytes]]) -> None:
    if shard.exists():
        return
    with tarfile.open(shard, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


if __name__ == "__main__":
    main()
