"""One centroid for each target row, or 100 by k-means: how many of what they choose is relevant, and how many classes.

    python -m benchmarks.clusters TINY GROCERY EMBEDDINGS [GROUP ...]

Folders and groups are those of `benchmarks.groups`. Budgets are a quarter of the relevant rows, and as many as there
are. A class with five images or more in the pool is covered where one of them is chosen. K-means has three seeds.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from benchmarks.groups import Group, load_groups
from curator.search import MemoryPool
from curator.selection import Rules, find_centroids, select_simcore

CLUSTERS = 100
SEEDS = (0, 1, 2)
LEAST_IMAGES = 5


def main() -> None:
    """Print the table."""
    tiny, grocery, embeddings, *names = sys.argv[1:]
    print("| group | K | precision at R/4 | at R | classes covered at R/4 |\n|---|---|---|---|---|")
    for group in load_groups(tiny, grocery, embeddings, names=names):
        for clusters, seed in [(None, 0), *((CLUSTERS, seed) for seed in SEEDS)]:
            centroids = find_centroids(group.target, clusters, seed)
            relevant = int(group.relevant.sum())
            ids = select_simcore(MemoryPool(group.pool), centroids, Rules(budget=relevant)).ids
            quarter = ids[: relevant // 4]
            what = f"{len(centroids)} rows" if clusters is None else f"{clusters}, seed {seed}"
            precisions = f"{group.relevant[quarter].mean():.3f} | {group.relevant[ids].mean():.3f}"
            print(f"| {group.name} | {what} | {precisions} | {coverage(group, quarter):.3f} |", flush=True)


def coverage(group: Group, chosen: NDArray[np.int64]) -> float:
    """The share of the relevant classes with enough images in the pool of which one was chosen."""
    classes, images = np.unique(group.classes[group.relevant], return_counts=True)
    classes = classes[images >= LEAST_IMAGES]
    return float(np.isin(classes, group.classes[chosen]).mean())


if __name__ == "__main__":
    main()
