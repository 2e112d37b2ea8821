"""Held-out rows: how near the target's own images are to each other, measured without looking at the pool."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator.errors import InputError, Use
from curator.search import (
    Floats,
    best_similarity,
    exact_pairs,
    first_in_hash_order,
    margin,
    propose,
    row_norms,
)
from curator.selection.centroids import find_centroids
from curator.types import unit_rows

__all__ = ["HeldOut", "hold_out"]

MOST_ROWS = 2500
FOLDS = 5
# Fewer rows than this are left out one by one.
FEW_ROWS = 10
# Similarities from which rows count as alike; the first at which no group is too large is taken. A flipped and
# re-encoded copy of a small photo may be as far as 0.9 from it (benchmarks/RESULTS.md).
ALIKE = (0.9, 0.95, 0.97, 0.99, 0.995, 0.999)
EQUAL = 1.0
LARGEST_GROUP = 0.2
LEAST_GROUPS = 3


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The target's rows, each seen from the rest of the target.

    Attributes:
        rows: int64 (n,), the rows of the target that take part, ascending: all that have a direction, or a sample.
        fold: int32 (n,), the fold in which each is left out.
        similarity: float32 (n,), h: the best score of each with the centroids of the other folds.
        groups: into how many groups of rows that are alike they fall; a group is left out as a whole.
        alike: the similarity that makes rows alike; 1 where only equal rows are.
        centroids: float32 (K, d) for each fold: those of the other folds' rows.
    """

    rows: NDArray[np.int64]
    fold: NDArray[np.int32]
    similarity: NDArray[np.float32]
    groups: int
    alike: float
    centroids: tuple[NDArray[np.float32], ...]

    def quantile(self, share: float) -> float:
        """A quantile of h: numpy's linear one, in float64; NaN where nothing could be held out."""
        if len(self.similarity) == 0:
            return float("nan")
        return float(np.quantile(self.similarity.astype(np.float64), share))

    @property
    def median(self) -> float:
        """The similarity of a typical image of the target to the others."""
        return self.quantile(0.5)

    @property
    def tau(self) -> float:
        """Where `stop` auto ends: the tenth percentile of h over its median, rounded to 4 decimals.

        The pool may be as far below its best as the target's own outlying images are below its typical one.

        Raises:
            InputError: fewer than 3 groups of images, or images that have nothing in common.
        """
        if self.groups < LEAST_GROUPS:
            raise InputError(
                f"the target has {self.groups} {'group' if self.groups == 1 else 'groups'} of images that differ: "
                f"{LEAST_GROUPS} are needed to find by themselves where to stop",
                field="stop",
                value="auto",
                advice=(Use("budget"), "give more images"),
            )
        tau = round(self.quantile(0.1) / self.median, 4) if self.median > 0 else 0.0
        if tau <= 0:
            raise InputError(
                f"to this encoder the target's images have nothing in common (similarity {self.median:.4f} of the "
                f"typical one, {self.quantile(0.1):.4f} of the tenth percentile)",
                field="stop",
                value="auto",
                advice=(Use("budget"), Use("encoder")),
            )
        return tau


def hold_out(target: Floats, clusters: int | None, seed: int) -> HeldOut:
    """Leave out each part of the target in turn, and score it with the centroids of the rest.

    Rows that are alike go together, so that a copy of an image does not vouch for it: groups are the connected
    components at a similarity at which none holds more than a fifth of the rows. By size, then lowest row, each group
    goes to the fold with the fewest rows. Fewer than 10 rows: each group is a fold.

    Args:
        target: float16 or float32 (n, d); rows of zero length are left out. Above 2,500 rows a sample takes part.
        clusters: as in `find_centroids`; with None every row of the other folds is a centroid.
        seed: of the sample and of k-means.

    Returns:
        the rows with their folds and scores; no row where all rows are alike, so that nothing is left to compare with.
        Cost 2 n n d, and k-means once a fold where `clusters` is a number.

    Raises:
        InputError: as `find_centroids`.
    """
    if target.ndim != 2 or not np.isfinite(target).all():
        raise InputError(f"the target's embeddings, shape {target.shape}, are no table of finite numbers")
    unit, has_direction = unit_rows(target)
    rows = np.flatnonzero(has_direction)
    if len(rows) == 0:
        raise InputError("the target has no embedding with a direction", advice="check that it holds images")
    if len(rows) > MOST_ROWS:
        rows = rows[first_in_hash_order({0: len(rows)}, MOST_ROWS, seed)]
    vectors = unit[rows].astype(np.float32)
    group, alike = _groups(vectors)
    fold = _folds(group)
    if len(np.unique(fold)) < 2:
        nothing = np.empty(0, np.int64)
        return HeldOut(nothing, nothing.astype(np.int32), nothing.astype(np.float32), 1, alike, ())
    similarity = np.empty(len(rows), np.float32)
    centroids = []
    for number in range(int(fold.max()) + 1):
        left_out = fold == number
        own = target[rows[~left_out]]
        centroids.append(find_centroids(own, clusters, seed))
        similarity[left_out] = best_similarity(_scored(target, rows[left_out]), centroids[-1])
    return HeldOut(rows, fold, similarity, int(group.max()) + 1, alike, tuple(centroids))


def _scored(target: Floats, rows: NDArray[np.int64]) -> Floats:
    return target[rows] if target.dtype in (np.float16, np.float32) else target[rows].astype(np.float32)


def _groups(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int64], float]:
    """The group of each row, numbered by its lowest row, and the similarity that made the groups."""
    for similarity in ALIKE:
        group = _components(vectors, similarity)
        if np.bincount(group).max() <= LARGEST_GROUP * len(vectors):
            return group, similarity
    _, first, inverse = np.unique(vectors, axis=0, return_index=True, return_inverse=True)
    return _numbered(first[inverse]), EQUAL


def _components(vectors: NDArray[np.float32], similarity: float) -> NDArray[np.int64]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    norms = row_norms(vectors)
    error = np.float32(margin(vectors))
    proposed = np.triu(propose(vectors, norms, vectors), k=1)
    first, second = np.nonzero(proposed >= np.float32(similarity) - error)
    scores = exact_pairs(vectors, norms, vectors, second, first)
    first, second = first[scores >= similarity], second[scores >= similarity]
    shape = (len(vectors), len(vectors))
    _, label = connected_components(coo_array((np.ones(len(first), bool), (first, second)), shape), directed=False)
    return _numbered(label)


def _numbered(label: NDArray[np.integer]) -> NDArray[np.int64]:
    """Labels as 0, 1, 2 ... in order of first appearance."""
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _folds(group: NDArray[np.int64]) -> NDArray[np.int32]:
    """The fold of each row: a group as a whole goes to the fold with the fewest rows, the largest first."""
    if len(group) < FEW_ROWS:
        return group.astype(np.int32)
    rows = [0] * FOLDS
    fold_of = np.empty(int(group.max()) + 1, np.int32)
    for number, size in _largest_first(group):
        fold_of[number] = rows.index(min(rows))
        rows[fold_of[number]] += size
    return fold_of[group]


def _largest_first(group: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Number and size of each group, by size, then by lowest row, which is the order of their numbers."""
    sizes = np.bincount(group)
    return ((int(number), int(sizes[number])) for number in np.argsort(-sizes, kind="stable"))
