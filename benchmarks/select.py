"""Exact selection against its floor and against the published greedy.

`python -m benchmarks.select [ROWS DIM ...]` over synthetic pools (200,000 x 128 and 1,280,000 x 128 unless told), and
`python -m benchmarks.select rounds` for the rounds alone.

Floor: every float16 part read once, and one float32 matrix product with the centroids. Peer, up to `GREEDY_ROWS` rows:
SimCore as the paper's Algorithm 1 says it: the whole matrix of similarities, each centroid's order by a full sort, and
queues. Every measurement has a process of its own; MB are of its own memory, mapped files apart. Files are in the page
cache, since they were just written.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.index import CLUSTERS, make_pool
from benchmarks.measure import Measured, measure
from benchmarks.synthetic import draw_target, make_mixture
from curator.io import storage
from curator.search import Cursors, TopK, widen
from curator.selection import Rules, find_centroids, run_rounds, select_each, select_simcore
from curator.store import PartStore

BUDGET = 0.01
TARGETS = 8
GREEDY_ROWS = 1_300_000
SIZES = ("200000", "128", "1280000", "128")
BLOCK_ROWS = 16384
BILLION = 1_000_000_000
CORESET = 10_000_000
FALL = 5e-6


def main() -> None:
    """Print the table."""
    args = sys.argv[1:]
    if args == ["rounds"]:
        rounds()
        return
    from benchmarks.data import describe_machine  # here, since torch would count in every measurement

    print(f"exact selection, K = {CLUSTERS}, budget {BUDGET:.0%}; {describe_machine()}\n")
    print("| rows x d | what | seconds | MB | against ours |\n|---|---|---|---|---|")
    sizes = [int(arg) for arg in args or SIZES]
    for rows, dim in zip(sizes[::2], sizes[1::2], strict=True):
        with tempfile.TemporaryDirectory(prefix="curator-select-") as run:
            measure(make_pool, run, rows, dim)
            _compare(run, rows, dim)


def _compare(run: str, rows: int, dim: int) -> None:
    budget = int(BUDGET * rows)
    case = f"| {rows:,} x {dim} |"
    ours = measure(exact, run, budget)
    _print(case, "ours", ours, "")
    _print(case, "floor: read, one product", floor := measure(read_and_multiply, run), "")
    print(f"{case} | | | ours takes {ours.seconds / floor.seconds:.1f} times the floor |")
    measure(write_targets, run, rows, dim)
    several = measure(exact_for_several, run, budget)
    _print(case, f"ours, {TARGETS} targets at once", several, f"{several.seconds / ours.seconds:.1f} times the time")
    if rows <= GREEDY_ROWS:
        peer = measure(published_greedy, run, budget)
        # Its float32 products differ in the last bits, and so does the order of rows that are nearly equal.
        shared = len(np.intersect1d(peer.result, ours.result)) / budget
        ratio = f"{peer.seconds / ours.seconds:.1f} times the time, {peer.anonymous / ours.anonymous:.1f} times the MB"
        _print(case, "published greedy", peer, f"{ratio}; {shared:.4f} of the coreset shared")


def _print(case: str, what: str, cost: Measured, note: str) -> None:
    print(f"{case} {what} | {cost.seconds:.2f} | {cost.anonymous:,.0f} | {note} |", flush=True)


def exact(run: str, budget: int) -> NDArray[np.int64]:
    """Our selection."""
    return select_simcore(_pool(run), _centroids(run), Rules(budget=budget)).ids


def write_targets(run: str, rows: int, dim: int) -> None:
    """The centroids of several targets."""
    mixture = make_mixture(rows, dim, 0)
    centroids = [find_centroids(draw_target(mixture, 2_000, seed), CLUSTERS, 0) for seed in range(TARGETS)]
    np.save(Path(run, "targets.npy"), np.stack(centroids))


def exact_for_several(run: str, budget: int) -> list[int]:
    """Our selection for several targets, in one pass over the pool; how much was chosen for each."""
    centroids = np.load(Path(run, "targets.npy"))
    found = select_each(_pool(run), centroids, [Rules(budget=budget)] * len(centroids))
    return [len(selection.ids) for selection in found]


def read_and_multiply(run: str) -> float:
    """The floor."""
    centroids = _centroids(run)
    total = 0.0
    for _, rows in _pool(run).parts():
        for start in range(0, len(rows), BLOCK_ROWS):
            total += float((centroids @ widen(rows[start : start + BLOCK_ROWS]).T)[0, 0])
    return total


def published_greedy(run: str, budget: int) -> NDArray[np.int64]:
    """SimCore, CVPR 2023, Algorithm 1 with a budget: in each round each centroid takes its best row that is left.

    Where several centroids want the same row in a round, it is the one with the highest score that gets it.
    """
    parts = list(_pool(run).parts())
    ids = np.concatenate([(np.int64(part) << 32) + np.arange(len(rows)) for part, rows in parts])
    rows = np.concatenate([rows for _, rows in parts]).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    scores = _centroids(run) @ rows.T
    order = np.argsort(-scores, axis=1, kind="stable")
    taken = np.zeros(len(ids), bool)
    heads = np.zeros(len(order), np.int64)
    chosen: list[int] = []
    while len(chosen) < budget:
        wanted = []
        for centroid, queue in enumerate(order):
            while taken[queue[heads[centroid]]]:
                heads[centroid] += 1
            row = queue[heads[centroid]]
            wanted.append((-scores[centroid, row], row))
        for _, row in sorted(set(wanted)):
            if not taken[row] and len(chosen) < budget:
                taken[row] = True
                chosen.append(row)
    return ids[chosen]


def _pool(run: str) -> PartStore:
    return PartStore(storage.join(run, "pool"))


def _centroids(run: str) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.load(Path(run, "centroids.npy"))
    return found


def rounds() -> None:
    """A coreset of ten million from a billion rows that are only simulated: the rounds over candidate lists."""
    from benchmarks.data import describe_machine

    found = measure(simulated_rounds, CORESET)
    chosen, passes = found.result
    print(f"rounds alone, K = {CLUSTERS}; {describe_machine()}")
    print(f"{chosen:,} of {BILLION:,} rows: {found.seconds:.1f} s, {found.anonymous:,.0f} MB, {passes} passes")


def simulated_rounds(budget: int) -> tuple[int, int]:
    """Rows chosen, and how often a pool would have been read."""
    selection = run_rounds(_simulated_fetch, CLUSTERS, Rules(budget=budget))
    return len(selection.ids), selection.passes


def _simulated_fetch(lines: NDArray[np.int64], cursors: Cursors, k: int) -> TopK:
    """The next `k` rows of each centroid: random ids of the billion, with falling scores."""
    scores = np.empty((len(lines), k), np.float32)
    ids = np.empty((len(lines), k), np.int64)
    for place, centroid in enumerate(lines):
        random = np.random.default_rng([centroid, int(cursors.ids[place]) & 0x7FFFFFFF])
        falling = min(float(cursors.scores[place]), 1.0) - np.cumsum(random.random(k)) * FALL
        names = random.integers(0, BILLION, k)
        order = np.lexsort((names, -falling.astype(np.float32)))
        scores[place], ids[place] = falling[order], names[order]
    full = np.full(len(lines), k)
    return TopK(scores, ids, full, full + BILLION, BILLION, k)


if __name__ == "__main__":
    main()
