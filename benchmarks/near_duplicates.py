"""Near duplicates planted among real images: precision and recall of --dedup, --exclude and `curator dedup`.

Planted beside each original: two re-encodings and two smaller sizes, which are duplicates, and in a pool of their own
two crops, which are reported only: whether a crop is one is for its user to say. Nothing here is alike without being
the same, so precision is that of an easy pool: `benchmarks.dedup_pairs` has the hard one.
`python -m benchmarks.near_duplicates [ORIGINALS]`
"""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.data import describe_machine, pool_sources
from benchmarks.planted_copies import Alter, cropped, jpeg, scaled
from curator.sources import read_source
from curator.store import PartStore
from curator.types import RawSample
from curator_pipelines.config import DedupConfig, EmbedConfig, SelectConfig, build
from curator_pipelines.jobs.queries import run_dedup
from curator_pipelines.jobs.select import run_embed, run_select
from curator_pipelines.run import Reporter

ORIGINALS = 120
EVALUATION = 30
THRESHOLDS = (0.8, 0.85, 0.9, 0.95)


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ORIGINALS
    with tempfile.TemporaryDirectory(prefix="curator-near-") as folder:
        root = Path(folder)
        originals = _originals(count)
        _write_tar(root / "same.tar", originals, SAME)
        _write_tar(root / "crops.tar", originals, CROPS)
        (root / "evaluation").mkdir()
        for key in [*originals][:EVALUATION]:
            originals[key].save(root / "evaluation" / f"{key}.png")
        for name in ("same", "crops"):
            config = {"pool": [f"{root}/{name}.tar"], "out": f"{root}/{name}", "encoder": "lite0"}
            run_embed(build(EmbedConfig, config), Reporter())
        print(f"near duplicates, lite0, {count} originals, 4 duplicates and 2 crops of each; {describe_machine()}")
        for name, kinds in (("same", SAME), ("crops", CROPS)):
            _report_similarity(root, name, kinds)
        for threshold in THRESHOLDS:
            _report(root, threshold)


def _report_similarity(root: Path, pool: str, kinds: Iterable[str]) -> None:
    """How near an altered image is to its original: what bounds the recall at a threshold."""
    store = PartStore(f"{root}/{pool}/pool")
    keys = store.metadata(0)["image_path"].to_pylist()
    rows = dict(zip(keys, store.vectors(0).astype(np.float32), strict=True))
    for kind in kinds:
        cosines = [float(rows[key] @ rows[f"{_original(key)}-original"]) for key in keys if _kind(key) == kind]
        low, middle = np.quantile(cosines, [0.05, 0.5])
        print(f"{kind:11} similarity to its original: median {middle:.3f}, 5% below {low:.3f}")


def _report(root: Path, threshold: float) -> None:
    found = {"--dedup": _selection(root, "same", threshold), "curator dedup": _whole_pool(root, threshold)}
    for name, pairs in found.items():
        right = sum(_original(row) == _original(match) for row, match in pairs)
        # Of five that show the same, four are superfluous.
        rows = pq.read_table(PartStore(f"{root}/same/pool").metadata_url(0)).num_rows
        wanted = rows * len(SAME) // (len(SAME) + 1)
        print(f"{threshold:.2f} {name:14} precision {right / max(len(pairs), 1):.3f}  recall {right / wanted:.3f}")
    crops = _selection(root, "crops", threshold)
    for kind in CROPS:
        hits = sum(
            _original(row) == _original(match) and {_kind(row), _kind(match)} == {kind, "original"}
            for row, match in crops
        )
        print(f"{threshold:.2f} {kind:14} taken for its original: {hits} of {len(_keys(root)) // (len(CROPS) + 1)}")
    chosen = _excluding(root, threshold)
    near = [key for key in chosen if int(_original(key)) < EVALUATION]
    exact = [key for key in near if _kind(key) == "original"]
    total = EVALUATION * (len(SAME) + 1)
    passed = f"evaluation images that passed: {len(exact)} of {EVALUATION}"
    print(f"{threshold:.2f} {'--exclude':14} {passed}; with altered ones {len(near)} of {total}")


def _selection(root: Path, pool: str, threshold: float) -> list[tuple[str, str]]:
    """Key and match of all that --dedup skipped, with the whole pool as budget."""
    out = _select(root, pool, f"dedup-{pool}-{threshold}", dedup=threshold)
    rows = pq.read_table(out / "selection" / "skipped.parquet").to_pylist()
    return [(row["key"], row["because"].partition("\t")[2]) for row in rows]


def _excluding(root: Path, threshold: float) -> list[str]:
    """Keys of what --exclude let pass."""
    settings = {"exclude": [f"{root}/evaluation"], "exclude_above": threshold}
    out = _select(root, "same", f"exclude-{threshold}", **settings)
    keys: list[str] = pq.read_table(out / "selection" / "selected.parquet")["key"].to_pylist()
    return keys


def _select(root: Path, pool: str, name: str, **settings: Any) -> Path:
    config = {
        "target": [f"{root}/evaluation"],
        "pool": [f"{root}/{pool}/pool"],
        "out": str(root / name),
        "encoder": "lite0",
        "clusters": 10,
        "budget": "100%",
        "manifest_only": True,
    }
    run_select(build(SelectConfig, config | settings), Reporter())
    return root / name


def _whole_pool(root: Path, threshold: float) -> list[tuple[str, str]]:
    found = run_dedup(build(DedupConfig, {"run": f"{root}/same", "dedup": threshold}), Reporter())
    rows = pq.read_table(found.deny).to_pylist()
    return [(row["key"], row["match_key"]) for row in rows]


def _keys(root: Path) -> list[str]:
    keys: list[str] = pq.read_table(PartStore(f"{root}/crops/pool").metadata_url(0))["image_path"].to_pylist()
    return keys


def _original(key: str) -> str:
    return key.partition("-")[0]


def _kind(key: str) -> str:
    return key.partition("-")[2]


def _originals(count: int) -> dict[str, Image.Image]:
    """Photos, numbered, no two with the same bytes."""
    items = (item for source in pool_sources() for item in read_source(source) if isinstance(item, RawSample))
    images: dict[bytes, Image.Image] = {}
    for item in items:
        if item.image is not None and item.image.data is not None and item.image.ext.lower() in ("jpg", "jpeg"):
            images.setdefault(item.image.data, Image.open(io.BytesIO(item.image.data)).convert("RGB"))
        if len(images) == count:
            break
    return {f"{number:05d}": image for number, image in enumerate(islice(images.values(), count))}


SAME: dict[str, Alter] = {
    "quality-75": lambda image: jpeg(image, 75),
    "quality-50": lambda image: jpeg(image, 50),
    "scaled-75": lambda image: jpeg(scaled(image, 0.75)),
    "scaled-60": lambda image: jpeg(scaled(image, 0.6)),
}
CROPS: dict[str, Alter] = {
    "crop-90": lambda image: jpeg(cropped(image, 0.9)),
    "crop-70": lambda image: jpeg(cropped(image, 0.7)),
}


def _write_tar(path: Path, originals: dict[str, Image.Image], alterations: dict[str, Alter]) -> None:
    kinds: Iterable[tuple[str, Alter]] = [("original", lambda image: jpeg(image, 95)), *alterations.items()]
    with tarfile.open(path, "w") as tar:
        for kind, alter in kinds:
            for key, image in originals.items():
                data = alter(image)
                info = tarfile.TarInfo(f"{key}-{kind}.jpg")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


if __name__ == "__main__":
    main()
