"""The demo's images: real ones, from packages that the extra `demo` installs."""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from curator.errors import Another, InputError
from curator.plugins import require_package
from curator.types import IMAGE_EXTENSIONS

__all__ = ["SOLAR", "DemoData", "build_demo_data"]

# What the target images show.
SOLAR = "solar cells"
TARGET_IMAGES = 300
SHARD_SAMPLES = 500
SEED = 0
# This file is written last, so that data which an interrupted run left half-built is built again.
FINISHED = "finished.json"
# This file is written first: the content of a folder without it is not the demo's and must stay.
STARTED = "started.json"


@dataclass(frozen=True)
class DemoData:
    """Where the demo's data is.

    Attributes:
        target: the folder of target images.
        pool: the pool's shards as a brace range.
        counts: what the images show -> number of pool samples.
    """

    target: str
    pool: str
    counts: dict[str, int]


def build_demo_data(folder: Path) -> DemoData:
    """Write the target folder and the pool's shards, unless that is done; the bytes are always the same.

    Raises:
        InputError: the packages of the extra `demo` are not installed, or the folder holds other data.
    """
    require_package("webdataset", "demo")
    images = _find_images()
    shuffler = random.Random(SEED)
    shuffler.shuffle(images[SOLAR])
    target, images[SOLAR] = images[SOLAR][:TARGET_IMAGES], images[SOLAR][TARGET_IMAGES:]
    pool = [(name, path) for name, paths in images.items() for path in paths]
    shuffler.shuffle(pool)
    counts = {name: len(paths) for name, paths in images.items()}
    shards = -(-len(pool) // SHARD_SAMPLES)
    data = DemoData(str(folder / "target"), str(folder / "pool" / f"demo-{{000000..{shards - 1:06d}}}.tar"), counts)
    if not (folder / FINISHED).exists():
        _claim(folder)
        _write_target(folder / "target", target)
        _write_pool(folder / "pool", pool)
        (folder / FINISHED).write_text(json.dumps(counts))
    return data


def _claim(folder: Path) -> None:
    for path in (folder / "target", folder / "pool"):
        if path.exists() and not (folder / STARTED).exists():
            raise InputError(f"{path} exists and is not the demo's", advice=Another("out"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STARTED).touch()


def _find_images() -> dict[str, list[Path]]:
    folders = {
        SOLAR: _package_folder("elpv_dataset", "data/images"),
        "textiles": _package_folder("conformal_clip_data", "data/textile_images"),
        "scikit-image": _package_folder("skimage", "data"),
    }
    return {
        name: sorted(path for path in folder.rglob("*") if path.suffix.lower().lstrip(".") in IMAGE_EXTENSIONS)
        for name, folder in folders.items()
    }


def _package_folder(package: str, folder: str) -> Path:
    require_package(package, "demo")
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / folder


def _write_target(folder: Path, paths: list[Path]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in paths:
        shutil.copyfile(path, folder / path.name)


def _write_pool(folder: Path, pool: list[tuple[str, Path]]) -> None:
    import webdataset

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for shard, start in enumerate(range(0, len(pool), SHARD_SAMPLES)):
        tar = folder / f"demo-{shard:06d}.tar"
        with webdataset.TarWriter(str(tar), encoder=False, mtime=0, user="", group="") as writer:
            for number, (source, path) in enumerate(pool[start : start + SHARD_SAMPLES], start):
                label = json.dumps({"source": source, "file": path.name}).encode()
                ext = path.suffix.lower().lstrip(".")
                writer.write({"__key__": f"{number:06d}", ext: path.read_bytes(), "json": label})
