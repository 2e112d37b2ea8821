"""`--dedup` while choosing: CPU seconds of a selection with it and without, by the budget.

    python -m benchmarks.dedup_choice [ROWS] [DIM] [BUDGET] [THRESHOLD] [POOL_URL]

ROWS rows in clusters, each third one a slightly moved copy of another, 100 centroids; budgets of BUDGET and four times
as much. With POOL_URL (OUT/pool of a run) the rows are those of that pool, and each is there twice, the second moved.
The rows of every selection are equal for equal seeds, so their hash says whether two versions choose alike.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import describe_machine
from benchmarks.measure import measure
from curator.search import directions
from curator.selection import Rules, Selection, no_duplicates, select_simcore
from curator.store import PartStore

CENTROIDS = 100
# Length of what moves a copy, of rows of length 1.
MOVED = 0.2


class Rows:
    """Rows in memory as a pool of one part."""

    def __init__(self, rows: NDArray[np.float16]) -> None:
        self.rows = rows

    def parts(self):  # type: ignore[no-untyped-def]
        """The one part."""
        yield 0, self.rows

    def read(self, ids: NDArray[np.int64]) -> NDArray[np.float16]:
        """Rows by id."""
        return self.rows[ids]


def main() -> None:
    """Print the table."""
    words = [*sys.argv[1:], *("300000", "64", "5000", "0.95", "")[len(sys.argv) - 1 :]]
    rows, dim, budget, threshold, url = int(words[0]), int(words[1]), int(words[2]), float(words[3]), words[4]
    where = "rows of a pool, each twice" if url else f"{rows:,} x {dim}"
    print(f"--dedup {threshold}, {where}, {CENTROIDS} centroids; {describe_machine()}, load {os.getloadavg()[0]:.0f}\n")
    print("| budget | skipped | CPU s without | CPU s with | ms a looked-at row | MB | chosen |")
    print(f"|{'---|' * 7}")
    costs = []
    for count in (budget, 4 * budget):
        alone, _, _ = measure(_select, rows, dim, count, None, url).result
        found = measure(_select, rows, dim, count, threshold, url)
        seconds, skipped, name = found.result
        costs.append(seconds - alone)
        each = 1e3 * costs[-1] / (count + skipped)
        print(
            f"| {count:,} | {skipped:,} | {alone:.2f} | {seconds:.2f} | {each:.3f} | {found.anonymous:,.0f} | {name} |",
            flush=True,
        )
    print(f"\nfour times the budget costs {costs[1] / costs[0]:.1f} times as much")


def _select(rows: int, dim: int, budget: int, threshold: float | None, url: str) -> tuple[float, int, str]:
    pool, centroids = Rows(_real(url) if url else _clusters(rows, dim)), None
    centroids = np.asarray(pool.rows[:: max(1, len(pool.rows) // CENTROIDS)][:CENTROIDS], np.float32)
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    basis, hashes = directions(centroids), lambda ids: [None] * len(ids)

    def choose(limit: float | None) -> Selection:
        rules = Rules(budget=budget)
        if limit is not None:
            rules = Rules(budget=budget, new_filter=lambda: no_duplicates(pool.read, hashes, basis, limit))
        return select_simcore(pool, centroids, rules)

    started = time.process_time()
    selection = choose(threshold)
    seconds = time.process_time() - started
    told = selection.ids.tobytes() + selection.skipped.matches.tobytes() + selection.skipped.similarities.tobytes()
    return seconds, len(selection.skipped), hashlib.sha256(told).hexdigest()[:8]


def _clusters(rows: int, dim: int) -> NDArray[np.float16]:
    rng = np.random.default_rng(0)
    centres = _unit(rng.standard_normal((CENTROIDS, dim)))
    fresh = _unit(centres[rng.integers(0, CENTROIDS, rows)] + rng.standard_normal((rows, dim)) / np.sqrt(dim))
    copies = np.arange(0, rows, 3)
    fresh[copies] = _moved(fresh[np.minimum(copies + 1 + rng.integers(0, 2, len(copies)), rows - 1)], rng)
    return fresh.astype(np.float16)


def _real(url: str) -> NDArray[np.float16]:
    own = PartStore(url).all_vectors()
    return np.concatenate([own, _moved(own.astype(np.float32), np.random.default_rng(0)).astype(np.float16)])


def _moved(rows: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    return _unit(rows + MOVED * rng.standard_normal(rows.shape) / np.sqrt(rows.shape[1]))


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    main()
