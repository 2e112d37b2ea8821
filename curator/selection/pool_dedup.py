"""All duplicates of a pool, in SemDeDup's way: cluster, then compare within clusters.

Abbas, Tirumala, Simig, Ganguli, Morcos: "SemDeDup: Data-efficient learning at web-scale through semantic
deduplication", arXiv 2303.09540. Unlike there the first row in the pool's order stays, and rows are compared with rows
that stay only, as the filter of `no_duplicates` does: chains of small steps do not fall together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator.search import (
    BLOCK_ROWS,
    Pool,
    SimilarityJoin,
    blocks,
    directions,
    nearest_in_block,
)
from curator.selection.near_duplicate_filters import ReadRows
from curator.types import Progress

__all__ = ["Repeats", "find_near_duplicates", "pool_clusters"]

SAMPLE_PER_CLUSTER = 32
ITERATIONS = 10
CHUNK_ROWS = 2048


@dataclass(frozen=True, slots=True)
class Repeats:
    """Rows that show what an earlier row shows.

    Attributes:
        ids: int64 (n,), ascending.
        matches: int64 (n,), the row that stays: the nearest, of several the first.
        similarities: float32 (n,).
    """

    ids: NDArray[np.int64]
    matches: NDArray[np.int64]
    similarities: NDArray[np.float32]


def pool_clusters(pool: Pool, rows: int, clusters: int, seed: int) -> NDArray[np.float32]:
    """Centroids of a pool, by k-means on a sample of it: float32 (at most `clusters`, d), unit rows.

    Args:
        pool: its parts.
        rows: how many it has.
        clusters: how many centroids.
        seed: of k-means.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    step = max(1, rows // (SAMPLE_PER_CLUSTER * clusters))
    by_part = {part: np.asarray(rows[::step], np.float32) for part, rows in pool.parts()}
    sample = np.concatenate([by_part[part] for part in sorted(by_part)])
    clusters = min(clusters, len(np.unique(sample, axis=0)))
    model = KMeans(clusters, n_init=1, init="random", max_iter=ITERATIONS, random_state=seed)
    # The sums of several threads depend on their number.
    with threadpool_limits(1):
        means = np.asarray(model.fit(sample).cluster_centers_, np.float64)
    lengths = np.linalg.norm(means, axis=1)
    return np.asarray(means[lengths > 0] / lengths[lengths > 0, None], np.float32)


def find_near_duplicates(
    pool: Pool,
    read_rows: ReadRows,
    centroids: NDArray[np.float32],
    threshold: float,
    removed: NDArray[np.int64],
    progress: Progress | None = None,
) -> Repeats:
    """Rows at least `threshold` near to an earlier row of their cluster that stays.

    Pairs that a cluster's border divides are not found: that is the price of not comparing all with all.

    Args:
        pool: its parts.
        read_rows: its rows by id.
        centroids: from `pool_clusters`.
        threshold: the least similarity that is too near.
        removed: int64, ascending: rows known to go, such as copies. They are compared with nothing.
        progress: told of the `rows` assigned and of those `compared`.

    Returns:
        what to leave out. Memory: 24 bytes a row, and the rows that stay of the largest cluster.
    """
    ids, labels = _assign(pool, centroids, removed, progress)
    # Stable: within a cluster the pool's order.
    order = np.argsort(labels, kind="stable")
    ids, bounds = ids[order], np.searchsorted(labels[order], np.arange(len(centroids) + 1))
    basis = directions(centroids)
    repeats: list[tuple[int, int, float]] = []
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        repeats += _in_cluster(read_rows, ids[start:end], basis, threshold)
        if progress:
            progress({"compared": end - start})
    repeats.sort()
    return Repeats(
        np.array([row for row, _, _ in repeats], np.int64),
        np.array([match for _, match, _ in repeats], np.int64),
        np.array([similarity for _, _, similarity in repeats], np.float32),
    )


def _assign(
    pool: Pool, centroids: NDArray[np.float32], removed: NDArray[np.int64], progress: Progress | None
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The rows that may stay, by id, and the nearest centroid of each, by exact score, then number."""
    ids, labels = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    for part, rows in sorted(pool.parts(), key=lambda item: item[0]):
        for first, block in blocks(part, rows, len(centroids), BLOCK_ROWS):
            keep = np.ones(len(block), bool)
            # Only what lies in this block is looked at: to look for all of `removed` in each grows with the square.
            start, stop = np.searchsorted(removed, [first, first + len(block)])
            keep[removed[start:stop] - first] = False
            ids.append(first + np.flatnonzero(keep))
            labels.append(nearest_in_block(first, block, centroids)[1][keep].astype(np.int32))
            if progress:
                progress({"rows": len(block)})
    return np.concatenate(ids), np.concatenate(labels)


def _in_cluster(
    read_rows: ReadRows, ids: NDArray[np.int64], basis: NDArray[np.float32], threshold: float
) -> Iterator[tuple[int, int, float]]:
    """Row, match and similarity of what goes."""
    kept, kept_ids = SimilarityJoin(basis), np.empty(0, np.int64)
    for start in range(0, len(ids), CHUNK_ROWS):
        chunk = ids[start : start + CHUNK_ROWS]
        vectors = read_rows(chunk)
        best: dict[int, tuple[float, int]] = {}
        old = kept.find(vectors, threshold)
        for query, member, similarity in zip(*(column.tolist() for column in old), strict=True):
            _improve(best, query, similarity, int(kept_ids[member]))
        among = SimilarityJoin(basis)
        among.add(vectors)
        pairs = among.find(vectors, threshold)
        # By row, so whether the earlier row of a pair stays is known when the pair's turn comes.
        earlier = pairs.member < pairs.query
        new = (column[earlier].tolist() for column in pairs)
        gone = set(best)
        for query, member, similarity in zip(*new, strict=True):
            if member not in gone:
                _improve(best, query, similarity, int(chunk[member]))
                gone.add(query)
        stays = np.ones(len(chunk), bool)
        stays[list(best)] = False
        kept.add(vectors[stays])
        kept_ids = np.concatenate([kept_ids, chunk[stays]])
        yield from ((int(chunk[query]), match, similarity) for query, (similarity, match) in best.items())


def _improve(best: dict[int, tuple[float, int]], query: int, similarity: float, match: int) -> None:
    """Note a match that is nearer than what is known; pairs come by match, so of equal ones the first stays."""
    if query not in best or similarity > best[query][0]:
        best[query] = similarity, match
