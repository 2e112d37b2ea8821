"""The target, the chosen and a sample of the pool in two dimensions."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.store import RowReader
from curator.types import unit_rows
from curator_pipelines.jobs.pictures import Picture
from curator_pipelines.jobs.report.target_record import SAMPLED_ROWS, TargetRecord, in_hash_order

__all__ = ["GROUPS", "Plane", "plane"]

# In the order in which they are drawn, and their names in the legend.
GROUPS = {"pool": "pool sample", "chosen": "chosen", "target": "your images"}
TARGET_ROWS = 1000
# Points of each group that have a thumbnail.
SHOWN = 80
# Fewer points make no neighbourhoods.
LEAST_FOR_NEIGHBOURS = 60


@dataclass(frozen=True)
class Plane:
    """Points in two dimensions.

    Attributes:
        points: group -> float64 (n, 2).
        ids: group -> int64 (n,), of the pool or of the target.
        pictures: of some points.
        method: how they were placed.
    """

    points: dict[str, NDArray[np.float64]]
    ids: dict[str, NDArray[np.int64]]
    pictures: list[Picture]
    method: str

    def names(self, group: str) -> list[str]:
        """The name of the picture of each point, whether the page has one or not."""
        kind = "target" if group == "target" else "pool"
        return [f"{kind}-{row}" for row in self.ids[group].tolist()]


def plane(target: TargetRecord, seed: int) -> Plane:
    """Place up to 2,000 rows of the pool, 2,000 chosen and 1,000 of the target.

    Cost: their vectors are read, and PCA takes d^3 of them; neighbour methods take some seconds.
    """
    chosen = in_hash_order(target.selection.ids, SAMPLED_ROWS)
    ids = {
        "pool": np.setdiff1d(target.pool_sample, target.selection.ids),
        "chosen": chosen,
        "target": in_hash_order(target.target_ids, TARGET_ROWS),
    }
    readers = {"pool": target.pool_rows, "chosen": target.pool_rows, "target": RowReader(target.directory.target)}
    vectors = [readers[group].vectors(rows) for group, rows in ids.items() if len(rows)]
    placed, method = place(unit_rows(np.concatenate(vectors))[0], seed)
    ends = np.cumsum([len(rows) for rows in ids.values()])
    points = dict(zip(ids, np.split(placed, ends[:-1]), strict=True))
    pictures = [
        Picture("target" if group == "target" else "pool", row, note=GROUPS[group])
        for group in reversed(GROUPS)
        for row in in_hash_order(ids[group], SHOWN, seed=2).tolist()
    ]
    return Plane(points, ids, pictures, method)


def place(vectors: NDArray[np.float64], seed: int) -> tuple[NDArray[np.float64], str]:
    """Unit rows (n, d) as float64 (n, 2), and how: by UMAP or PaCMAP where one is installed, else by PCA."""
    if len(vectors) >= LEAST_FOR_NEIGHBOURS:
        for method, by_neighbours in {"UMAP": _by_umap, "PaCMAP": _by_pacmap}.items():
            with suppress(ImportError), _silence():
                return np.asarray(by_neighbours(vectors, seed), np.float64), method
    return _by_pca(vectors), "PCA"


def _by_umap(vectors: NDArray[np.float64], seed: int) -> Any:
    from umap import UMAP

    return UMAP(random_state=seed, metric="cosine", n_jobs=1).fit_transform(vectors)


def _by_pacmap(vectors: NDArray[np.float64], seed: int) -> Any:
    from pacmap import PaCMAP

    return PaCMAP(random_state=seed).fit_transform(vectors)


@contextmanager
def _silence() -> Iterator[None]:
    """What these libraries say of a seed and of their compiler is nothing to a person who reads a page."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _by_pca(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    wide = vectors - vectors.mean(axis=0)
    _, directions = np.linalg.eigh(wide.T @ wide)
    axes = directions[:, :-3:-1]
    # A direction and its opposite are the same axis: take the one whose largest entry is positive.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    placed = np.zeros((len(wide), 2))
    placed[:, : axes.shape[1]] = wide @ axes
    return placed
