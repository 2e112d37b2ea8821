"""What `curator dedup` lists at each threshold, in a pool full of images that are alike and not the same.

Copies of some of the pool's images are made and embedded: the share of them that is as near to its original as a
threshold asks is what that threshold finds. What the command lists of the pool itself is to be looked at:
WORK/pairs-T.jpg shows 50 pairs just above each threshold, a seeded choice.
`python -m benchmarks.dedup_pairs WORK POOL_SHARDS...`; a second call uses what the first embedded.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.data import describe_machine
from benchmarks.planted_copies import COPIES, write_copies
from curator.images import decode_image
from curator.io import storage
from curator.search import first_in_hash_order, priorities
from curator.store import PartStore, RowReader
from curator_pipelines.config import DedupConfig, EmbedConfig, build
from curator_pipelines.jobs.queries import run_dedup
from curator_pipelines.jobs.queries.query_sheets import NearPair, write_pairs_sheet
from curator_pipelines.jobs.select import run_embed
from curator_pipelines.run import Reporter

ORIGINALS = 150
THRESHOLDS = (0.8, 0.85, 0.9, 0.95, 0.98)
# Pairs to look at, and how far above the threshold they may be.
LOOKED_AT = 50
BAND = 0.01


def main() -> None:
    """Print the tables and draw the pairs."""
    work, shards = Path(sys.argv[1]), sys.argv[2:]
    pool, copies = str(work / "pool"), str(work / "copies")
    _embed(shards, pool)
    store = PartStore(f"{pool}/pool")
    ids = first_in_hash_order(store.lengths(), ORIGINALS)
    if not (work / "copies.tar").exists():
        write_copies(work / "copies.tar", _images(store, ids), COPIES)
    _embed([f"{work}/copies.tar"], copies)
    print(f"lite0, {store.count():,} images, {describe_machine()}\n")
    _report_copies(store, ids, PartStore(f"{copies}/pool"))
    print()
    for threshold in THRESHOLDS:
        _report_pairs(work, store, pool, threshold)


def _embed(shards: list[str], out: str) -> None:
    run_embed(build(EmbedConfig, {"pool": shards, "out": out, "encoder": "lite0"}), Reporter())


def _images(store: PartStore, ids: np.ndarray) -> dict[str, Image.Image]:
    """The originals, by their place among the ids."""
    rows = store.rows(ids, ["shard", "offset", "size"]).to_pylist()
    images = {}
    for number, row in enumerate(rows):
        data = storage.read_range(row["shard"], row["offset"], row["offset"] + row["size"])
        images[f"{number:04d}"] = Image.fromarray(decode_image(data).pixels.permute(1, 2, 0).numpy())
    return images


def _report_copies(store: PartStore, ids: np.ndarray, copies: PartStore) -> None:
    """How many copies of each kind are as near to their original as each threshold asks."""
    originals = RowReader(store).vectors(ids).astype(np.float64)
    keys = copies.metadata(0)["image_path"].to_pylist()
    numbers = np.array([int(key.partition("-")[0]) for key in keys])
    kinds = np.array([key.partition("-")[2].replace("_", " ") for key in keys])
    rows = np.asarray(copies.vectors(0), np.float64)
    similarity = np.einsum("ij,ij->i", rows, originals[numbers])
    similarity /= np.linalg.norm(rows, axis=1) * np.linalg.norm(originals[numbers], axis=1)
    print(f"| copies found at | {' | '.join(f'{threshold:.2f}' for threshold in THRESHOLDS)} | median similarity |")
    print(f"|---|{'---|' * (len(THRESHOLDS) + 1)}")
    for kind in [*COPIES, "all"]:
        own = similarity[(kinds == kind) | (kind == "all")]
        shares = " | ".join(f"{np.mean(own >= threshold):.0%}" for threshold in THRESHOLDS)
        print(f"| {kind} | {shares} | {np.median(own):.3f} |")


def _report_pairs(work: Path, store: PartStore, run: str, threshold: float) -> None:
    """How many the command lists, and a sheet of those just above the threshold."""
    result = run_dedup(build(DedupConfig, {"run": run, "dedup": threshold}), Reporter())
    near = pq.read_table(result.deny, filters=[("reason", "=", "near_duplicate")])
    similarity = near["similarity"].to_numpy()
    ids = near["id"].to_numpy()
    just_above = np.flatnonzero(similarity < np.float32(threshold + BAND))
    drawn = just_above[np.argsort(priorities(ids[just_above], 0), kind="stable")[:LOOKED_AT]]
    pairs: list[NearPair] = [
        (int(ids[place]), int(near["match"][place].as_py()), float(similarity[place])) for place in drawn
    ]
    url = str(work / f"pairs-{threshold:.2f}.jpg")
    title = f"Listed at {threshold:.2f}: {len(drawn)} of the {len(just_above):,} pairs below {threshold + BAND:.2f}"
    write_pairs_sheet(url, store, title, "Left: listed. Right: stays.", {"A seeded choice": pairs}, Reporter())
    share = result.near / result.rows
    print(
        f"{threshold:.2f}: {result.copies:,} copies by sha256, {result.near:,} near duplicates listed ({share:.1%}), "
        f"{len(just_above):,} of them below {threshold + BAND:.2f}; {url}"
    )


if __name__ == "__main__":
    main()
