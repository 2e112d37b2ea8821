"""One centroid for each target row, or 100 by k-means: the precision of what they choose, and the classes it covers.

    python -m benchmarks.clusters TINY GROCERY EMBEDDINGS [GROUP ...]

Folders and groups are those of `benchmarks.groups`. R is the number of relevant rows. Coverage: the share of the
classes that have five images or more in the pool of which so many are chosen, one or five. K-means has three seeds.
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
FEW_IMAGES = 5
COLUMNS = ("precision at R/4", "at R", "classes of which 1 chosen, R/4", "5, R/4", "1, R/20", "5, R/20")


def main() -> None:
    """Print the table."""
    tiny, grocery, embeddings, *names = sys.argv[1:]
    print(f"| group | K | {' | '.join(COLUMNS)} |\n{'|---' * (2 + len(COLUMNS))}|")
    for group in load_groups(tiny, grocery, embeddings, names=names):
        for clusters, seed in [(None, 0), *((CLUSTERS, seed) for seed in SEEDS)]:
            centroids = find_centroids(group.target, clusters, seed)
            relevant = int(group.relevant.sum())
            ids = select_simcore(MemoryPool(group.pool), centroids, Rules(budget=relevant)).ids
            quarter, small = ids[: relevant // 4], ids[: relevant // 20]
            what = f"{len(centroids)} rows" if clusters is None else f"{clusters}, seed {seed}"
            values = [group.relevant[chosen].mean() for chosen in (quarter, ids)]
            values += [coverage(group, chosen, images) for chosen in (quarter, small) for images in (1, FEW_IMAGES)]
            print(f"| {group.name} | {what} | {' | '.join(f'{value:.3f}' for value in values)} |", flush=True)


def coverage(group: Group, chosen: NDArray[np.int64], images: int) -> float:
    """The share of the relevant classes of which so many images were chosen."""
    classes, in_pool = np.unique(group.classes[group.relevant], return_counts=True)
    classes = classes[in_pool >= FEW_IMAGES]
    counts = (group.classes[chosen][:, None] == classes).sum(axis=0)
    return float((counts >= images).mean())


if __name__ == "__main__":
    main()
