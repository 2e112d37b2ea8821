"""The target, summed up: k-means centroids of its unit rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curator.errors import InputError
from curator.search import Floats, first_in_hash_order
from curator.types import unit_rows

__all__ = ["expected_centroids", "find_centroids"]

# Starts of k-means, of which the best is kept. Of many centroids one start alone takes minutes.
N_INIT = 10
N_INIT_AUTO = 1
# With no number of clusters, so many distinct rows are their own centroids. Above, so many centroids of so many rows.
MOST_ROWS = 2000
AUTO_CLUSTERS = 1000
SAMPLE_ROWS = 20_000
# A mean of unit rows shorter than this points nowhere in particular.
NO_DIRECTION = 1e-6


def find_centroids(vectors: Floats, clusters: int | None, seed: int) -> NDArray[np.float32]:
    """Centroids of the target, as unit rows.

    Args:
        vectors: float16 or float32 (n, d), the target's embeddings. Rows of zero length are left out.
        clusters: the number of centroids. More describe the target finer and let odd images count more;
            fewer keep to its middle. The paper uses 100. None: every distinct row up to `MOST_ROWS` of them, above that
            `AUTO_CLUSTERS` by k-means over at most `SAMPLE_ROWS` of them, drawn by the seed.
        seed: of k-means' starts, and of the sample.

    Returns:
        float32 (K, d), unit rows. K is `clusters`, or the number of distinct rows if that is not larger: then
        these are the rows themselves, in order of first appearance. A cluster whose mean has no length, such
        as two opposite rows, is represented by its first member. Cost n x K x d per iteration.

    Raises:
        InputError: no rows to look at, rows that are not finite, or fewer than one cluster.
    """
    if clusters is not None and clusters < 1:
        raise InputError("at least 1 centroid must describe the target", field="clusters", value=clusters)
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise InputError(f"the target's embeddings, shape {vectors.shape}, are no table of finite numbers")
    unit, has_direction = unit_rows(vectors)
    rows = unit[has_direction]
    if len(rows) == 0:
        raise InputError("the target has no embedding with a direction", advice="check that it holds images")
    first_seen = np.sort(np.unique(rows, axis=0, return_index=True)[1])
    if len(first_seen) <= (MOST_ROWS if clusters is None else clusters):
        return np.asarray(rows[first_seen], np.float32)
    if clusters is not None:
        return _k_means(rows, clusters, seed, N_INIT)
    sample = rows[first_seen[first_in_hash_order({0: len(first_seen)}, SAMPLE_ROWS, seed)]]
    return _k_means(sample, AUTO_CLUSTERS, seed, N_INIT_AUTO)


def expected_centroids(rows: int, clusters: int | None) -> int:
    """How many centroids `find_centroids` gives for so many rows, if all differ.

    >>> expected_centroids(700, None), expected_centroids(50_000, None), expected_centroids(50_000, 100)
    (700, 1000, 100)
    """
    most = MOST_ROWS if clusters is None else clusters
    return rows if rows <= most else clusters or AUTO_CLUSTERS


def _k_means(rows: NDArray[np.float64], clusters: int, seed: int, n_init: int) -> NDArray[np.float32]:
    """Unit means of float64 unit rows (n, d), of which more than `clusters` are distinct."""
    # scikit-learn takes a second to import, and most who import this module never get here.
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    model = KMeans(clusters, n_init=n_init, algorithm="lloyd", random_state=seed)
    # The sums of several threads depend on their number.
    with threadpool_limits(1):
        labels = model.fit(rows).labels_
    means = np.asarray(model.cluster_centers_, np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", means, means))
    for cluster in np.flatnonzero(lengths < NO_DIRECTION):
        means[cluster] = rows[np.argmax(labels == cluster)]
        lengths[cluster] = 1.0
    return np.asarray(means / lengths[:, None], np.float32)
