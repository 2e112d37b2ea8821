"""Contact sheets: pool images beside the target images that they are like, or with their scores, as one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from curator.errors import InputError, SampleError
from curator.images import decode_image
from curator.io import npy, storage
from curator.search import exact_scores
from curator.store import PartReader
from curator.types import part_ids
from curator_pipelines.run import TargetDirectory, load_selection

__all__ = ["write_contact_sheet", "write_hits_sheet"]

# In pixels: the side of an image, the gap between images, the title, and the text below an image.
TILE = 112
GAP = 4
HEADER = 20
CAPTION = 12
STEP = TILE + GAP
# A sheet of a selection shows so many centroids, with so many target images and chosen ones of each.
CENTROIDS = 8
TARGETS = 4
CHOSEN = 8
# A sheet of a search shows at most so many images.
HITS = 96

Tiles: TypeAlias = list[Image.Image]


def write_contact_sheet(directory: TargetDirectory, url: str) -> None:
    """Draw the centroids with the most chosen rows: their nearest target images beside their best chosen ones.

    Raises:
        InputError: there is no finished selection with centroids.
    """
    stored = load_selection(directory)
    if stored is None or not storage.exists(directory.path("selection", "centroids.npy")):
        raise InputError(f"{directory.url} holds no finished selection with centroids")
    centroids = npy.read_array(directory.path("selection", "centroids.npy"))
    counts = np.bincount(stored.anchors[stored.anchors >= 0], minlength=len(centroids))
    most = np.argsort(-counts, kind="stable")[:CENTROIDS]
    rows = []
    for centroid in most[counts[most] > 0]:
        targets = _nearest(directory.target, centroids[centroid])
        chosen = stored.ids[stored.anchors == centroid][:CHOSEN]
        rows.append((_read_tiles(directory.target, targets), _read_tiles(directory.pool, chosen)))
    with storage.write_file(url) as path:
        _draw_selection(rows).save(path, format="PNG")


def write_hits_sheet(store: PartReader, ids: np.ndarray, scores: Sequence[float], title: str, url: str) -> bool:
    """Draw samples in the order given, each with its score.

    Returns:
        whether a sheet was drawn: ready embeddings have no images to show.
    """
    if not len(ids) or any(part.kind == "embeddings" for part in store.registered() if not part.is_retired):
        return False
    sheet = _draw_hits(_read_tiles(store, ids[:HITS]), scores, title)
    with storage.write_file(url) as path:
        sheet.save(path, format="PNG")
    return True


def _nearest(store: PartReader, centroid: NDArray[np.float32]) -> NDArray[np.int64]:
    """The ids of the rows nearest to a centroid, best first."""
    ids, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for part, vectors in store.parts():
        scores.append(exact_scores(vectors, np.broadcast_to(centroid, vectors.shape)))
        ids.append(part_ids(part, len(vectors)))
    rows = np.concatenate(ids)
    return rows[np.lexsort((rows, -np.concatenate(scores)))[:TARGETS]]


def _read_tiles(store: PartReader, ids: NDArray[np.int64]) -> Tiles:
    kinds = {part.url: part.kind for part in store.registered()}
    rows = store.rows(ids, ["shard", "image_path", "offset", "size"])
    return [_read_tile(row, kinds.get(row["shard"], "tar")) for row in rows.to_pylist()]


def _read_tile(row: dict[str, Any], kind: str) -> Image.Image:
    """An image in a square; the square stays grey where the image cannot be read any more."""
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


def _draw_hits(tiles: Tiles, scores: Sequence[float], title: str) -> Image.Image:
    columns = min(CHOSEN, len(tiles))
    rows = -(-len(tiles) // columns)
    height = STEP + CAPTION
    sheet = Image.new("RGB", (columns * STEP + GAP, HEADER + rows * height + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    # Pillow's own font has no letters beyond Latin-1.
    pen.text((GAP, GAP), title.encode("latin-1", "replace").decode("latin-1"), fill="black")
    for number, tile in enumerate(tiles):
        left, top = GAP + number % columns * STEP, HEADER + number // columns * height
        sheet.paste(tile, (left, top))
        pen.text((left, top + TILE), f"{scores[number]:.4f}", fill="black")
    return sheet


def _draw_selection(rows: list[tuple[Tiles, Tiles]]) -> Image.Image:
    middle = TARGETS * STEP + 4 * GAP
    sheet = Image.new("RGB", (middle + CHOSEN * STEP + GAP, HEADER + len(rows) * STEP + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, GAP), "nearest target images", fill="black")
    pen.text((middle, GAP), "chosen from the pool, best first", fill="black")
    for number, (targets, chosen) in enumerate(rows):
        top = HEADER + number * STEP
        for column, tile in enumerate(targets):
            sheet.paste(tile, (GAP + column * STEP, top))
        for column, tile in enumerate(chosen):
            sheet.paste(tile, (middle + column * STEP, top))
    pen.line((middle - 2 * GAP, 0, middle - 2 * GAP, sheet.height), fill="grey")
    return sheet
