"""Does the verdict tell a pool that holds the target's kind from one that does not?

For each target with known answers: the share of its images whose best pool image is nearer than the target's images
typically are to each other, with the pool as it is, and with every relevant image taken out of it.

    python -m benchmarks.verdict --tiny TINY --groceries GROCERY --embeddings EMBEDDINGS

The folders are those of `benchmarks.groups`. With --few N the target is N of its images, drawn 20 times: how often a
pool that holds the kind is doubted, and one that does not is not.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.groups import load_groups
from curator.search import Floats, MemoryPool, watched
from curator.selection import Verdict, hold_out, nearest_rows, query_rows, query_scan, verdict_of

DRAWS = 20


def verdict(target: Floats, pool: Floats) -> Verdict:
    """The verdict about a pool without own images."""
    queries = query_scan(target)
    for _ in watched(MemoryPool(pool), [queries]).parts():
        pass
    assert queries.top_k is not None

    def is_own(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.zeros(len(ids), bool)

    nearest = nearest_rows(query_rows(target), queries.top_k, is_own, all_read=True)
    return verdict_of(nearest, hold_out(target, None, 0).median)


def targets(target: Floats, few: int | None) -> Iterator[Floats]:
    """The target, or small ones drawn from it."""
    if few is None:
        yield target
        return
    for seed in range(DRAWS):
        yield target[np.sort(np.random.default_rng(seed).choice(len(target), few, replace=False))]


def main() -> None:
    """Print a line a target."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", default="")
    parser.add_argument("--groceries", default="")
    parser.add_argument("--embeddings", required=True)
    parser.add_argument("--few", type=int)
    given = parser.parse_args()
    print(f"{'target':12} {'images':>6} {'relevant':>8} {'median':>7} {'share':>6} {'taken out':>9} doubted")
    for group in load_groups(given.tiny, given.groceries, given.embeddings):
        rows = list(targets(group.target, given.few))
        whole = [verdict(target, group.pool) for target in rows]
        without = [verdict(target, group.pool[~group.relevant]) for target in rows]
        doubted = [np.mean([one.doubtful for one in verdicts]) for verdicts in (whole, without)]
        shares = [np.mean([one.share for one in verdicts]) for verdicts in (whole, without)]
        median = np.mean([one.median for one in whole])
        print(
            f"{group.name:12} {len(rows[0]):6} {group.relevant.sum():8,} {median:7.4f} {shares[0]:6.2f} "
            f"{shares[1]:9.2f} {doubted[0]:.2f} {doubted[1]:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
