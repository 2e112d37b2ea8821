"""A target's photos, altered: made grey or blurred, as by another camera, or flipped, as a copy in another guise."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from benchmarks.groups import Group, target_photos
from curator.store import PartStore
from curator_pipelines.config import EmbedConfig, build
from curator_pipelines.jobs.select import run_embed
from curator_pipelines.run import Reporter

__all__ = ["ALTERATIONS", "embed_altered", "write_photos"]

QUALITY = 90
# Radius of the blur as a share of the shorter side: 1.3 pixels of 64.
BLUR = 1 / 48


def _grey(image: Image.Image) -> Image.Image:
    return ImageOps.grayscale(image).convert("RGB")


def _blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(min(image.size) * BLUR))


ALTERATIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "grey": _grey,
    "blurred": _blurred,
    "flipped": ImageOps.mirror,
}


def embed_altered(group: Group, embeddings: str, encoder: str) -> dict[str, NDArray[np.float16]]:
    """The target of a group, altered in each way and embedded; what is there already is not done again.

    Args:
        group: from `load_groups`.
        embeddings: the folder of its embeddings; keeps the photos in NAME-photos and their vectors in NAME-altered.
        encoder: that of the other embeddings.

    Returns:
        name of the alteration -> float16 (t, d), unit rows in the order of the target's.
    """
    run = Path(embeddings, f"{group.name}-altered")
    shards = {name: Path(embeddings, f"{group.name}-photos", f"{name}.tar") for name in ALTERATIONS}
    for name, shard in shards.items():
        if not shard.exists():
            write_photos(shard, target_photos(group, embeddings), ALTERATIONS[name])
    config = {"pool": [str(shard) for shard in shards.values()], "out": str(run), "encoder": encoder}
    run_embed(build(EmbedConfig, config), Reporter())
    vectors = [rows for _, rows in PartStore(f"{run}/pool").parts()]
    if any(len(rows) != len(group.target) for rows in vectors):
        raise ValueError(f"{run}: not every photo could be embedded, see its ledger")
    return dict(zip(shards, vectors, strict=True))


def write_photos(
    path: Path, photos: Iterable[bytes], alter: Callable[[Image.Image], Image.Image] | None = None
) -> None:
    """Write photos into a shard, altered and stored anew as JPEG, or as they are.

    Args:
        path: of the shard.
        photos: their bytes.
        alter: what to do to each; None to keep its bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with tarfile.open(unfinished, "w") as tar:
        for number, photo in enumerate(photos):
            data = photo if alter is None else _altered(photo, alter)
            info = tarfile.TarInfo(f"{number:06d}.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    unfinished.rename(path)


def _altered(photo: bytes, alter: Callable[[Image.Image], Image.Image]) -> bytes:
    buffer = io.BytesIO()
    alter(Image.open(io.BytesIO(photo)).convert("RGB")).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
