"""Contact sheets: what was chosen beside what it was chosen for, as one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from curator.errors import InputError, SampleError
from curator.images.decode import decode_image
from curator.io import npy, storage
from curator.selection import exact_scores
from curator.store.part_reader import PartReader
from curator_pipelines.run.run_directory import TargetDirectory
from curator_pipelines.run.stored_selection import load_selection

__all__ = ["write_contact_sheet", "write_hits_sheet"]

TILE = 112
GAP = 4
CENTROIDS = 8
TARGETS = 4
CHOSEN = 8
HEADER = 20
CAPTION = 12
SHOWN = 96


def write_contact_sheet(directory: TargetDirectory, url: str) -> None:
    """Draw, for the centroids that chose most, their nearest target images beside their best chosen ones.

    Raises:
        InputError: there is no finished SimCore selection, or its target holds no images.
    """
    stored = load_selection(directory)
    if stored is None or not storage.exists(directory.path("selection", "centroids.npy")):
        raise InputError(f"{directory.url} holds no finished selection with centroids")
    centroids = npy.read_array(directory.path("selection", "centroids.npy"))
    counts = np.bincount(stored.anchors[stored.anchors >= 0], minlength=len(centroids))
    shown = np.argsort(-counts, kind="stable")[:CENTROIDS]
    rows = []
    for centroid in shown[counts[shown] > 0]:
        mine = stored.ids[stored.anchors == centroid][:CHOSEN]
        nearest = _nearest(directory.target, centroids[centroid])
        rows.append((_images(directory.target, nearest), _images(directory.pool, mine)))
    with storage.write_file(url) as path:
        _draw(rows).save(path, format="PNG")


def write_hits_sheet(store: PartReader, ids: np.ndarray, scores: Sequence[float], title: str, url: str) -> bool:
    """Draw samples in the order given, each with its score; False, and nothing drawn, for ready embeddings."""
    if not len(ids) or any(part.kind == "embeddings" for part in store.registered()):
        return False
    ids, columns = ids[:SHOWN], min(CHOSEN, len(ids))
    step, line = TILE + GAP, TILE + GAP + CAPTION
    lines = -(-len(ids) // columns)
    sheet = Image.new("RGB", (columns * step + GAP, HEADER + lines * line + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    # Pillow's own font knows no letters beyond Latin-1.
    pen.text((GAP, GAP), title.encode("latin-1", "replace").decode("latin-1"), fill="black")
    for place, tile in enumerate(_images(store, ids)):
        corner = (GAP + place % columns * step, HEADER + place // columns * line)
        sheet.paste(tile, corner)
        pen.text((corner[0], corner[1] + TILE), f"{scores[place]:.4f}", fill="black")
    with storage.write_file(url) as path:
        sheet.save(path, format="PNG")
    return True


def _nearest(store: PartReader, centroid: np.ndarray) -> np.ndarray:
    """Ids of the rows nearest to a centroid, best first."""
    ids, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for part, vectors in store.parts():
        scores.append(exact_scores(vectors, np.broadcast_to(centroid, vectors.shape)))
        ids.append((np.int64(part) << 32) + np.arange(len(vectors), dtype=np.int64))
    order = np.argsort(-np.concatenate(scores), kind="stable")[:TARGETS]
    return np.concatenate(ids)[order]


def _images(store: PartReader, ids: np.ndarray) -> list[Image.Image]:
    kinds = {part.url: part.kind for part in store.registered()}
    rows = store.rows(ids, ["shard", "image_path", "offset", "size"])
    return [_tile(row, kinds.get(row["shard"], "tar")) for row in rows.to_pylist()]


def _tile(row: dict[str, Any], kind: str) -> Image.Image:
    """An image in a square; grey where it cannot be read any more."""
    tile = Image.new("RGB", (TILE, TILE), (238, 238, 238))
    try:
        if kind == "folder":
            data = storage.read_bytes(storage.join(row["shard"], row["image_path"]))
        else:
            data = storage.read_range(row["shard"], row["offset"], row["offset"] + row["size"])
        image = Image.fromarray(decode_image(data).pixels.permute(1, 2, 0).numpy())
    except (OSError, SampleError):
        return tile
    image.thumbnail((TILE, TILE))
    tile.paste(image, ((TILE - image.width) // 2, (TILE - image.height) // 2))
    return tile


def _draw(rows: list[tuple[list[Image.Image], list[Image.Image]]]) -> Image.Image:
    step = TILE + GAP
    middle = TARGETS * step + 4 * GAP
    sheet = Image.new("RGB", (middle + CHOSEN * step + GAP, HEADER + len(rows) * step + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, GAP), "nearest target images", fill="black")
    pen.text((middle, GAP), "chosen from the pool, best first", fill="black")
    for line, (targets, chosen) in enumerate(rows):
        top = HEADER + line * step
        for column, tile in enumerate(targets):
            sheet.paste(tile, (GAP + column * step, top))
        for column, tile in enumerate(chosen):
            sheet.paste(tile, (middle + column * step, top))
    pen.line((middle - 2 * GAP, 0, middle - 2 * GAP, sheet.height), fill="grey")
    return sheet
