"""Exact selection against its floor and against what users would run in its place.

`python -m benchmarks.select [ROWS DIM CENTROIDS ...]` over synthetic pools (1,280,000 rows of 128 and 512 dimensions,
100 and 700 centroids, unless told), and `python -m benchmarks.select rounds` for the rounds alone.

Ours is the search of `curator select` in one process. Floor: every float16 part read once, and one float32 matrix
product with the centroids. Peers, up to `PEER_ROWS` rows: see `benchmarks.select_peers`; DuckDB where it is installed.
Every measurement has a process of its own; MB are of its own memory, mapped files apart. Files are in the page cache,
since they were just written.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import select_peers
from benchmarks.index import make_pool
from benchmarks.measure import Measured, measure
from benchmarks.synthetic import draw_target, make_mixture
from curator.float16 import widen
from curator.io import storage
from curator.search import Cursors, TopK
from curator.selection import Rules, Selection, find_centroids, run_rounds
from curator.store import PartStore
from curator_pipelines.executors import InProcessExecutor, usable_cpus
from curator_pipelines.jobs.select.choose_search import exact_search

BUDGET = 0.01
TARGETS = 8
TARGET_ROWS = 2_000
PEER_ROWS = 1_300_000
SIZES = ("1280000", "128", "100", "1280000", "128", "700", "1280000", "512", "100", "1280000", "512", "700")
BLOCK_ROWS = 4096
CLUSTERS = 100
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

    print(f"exact selection, budget {BUDGET:.0%}; {describe_machine()}\n")
    print("| rows x d | centroids | what | seconds | MB | |\n|---|---|---|---|---|---|", flush=True)
    sizes = [int(arg) for arg in args or SIZES]
    with tempfile.TemporaryDirectory(prefix="curator-select-") as folder:
        for rows, dim, clusters in zip(sizes[::3], sizes[1::3], sizes[2::3], strict=True):
            run = f"{folder}/{rows}x{dim}"
            measure(make_pool, run, rows, dim)
            measure(write_targets, run, rows, dim, clusters)
            _compare(run, rows, dim, clusters)


def _compare(run: str, rows: int, dim: int, clusters: int) -> None:
    budget = int(BUDGET * rows)
    case = f"| {rows:,} x {dim} | {clusters} |"
    ours = measure(exact, run, budget, 1)
    floor = measure(read_and_multiply, run)
    _print(case, "ours", ours, f"{ours.seconds / floor.seconds:.1f} times the floor")
    _print(case, "floor: read, one product", floor, "")
    several = measure(exact, run, budget, TARGETS)
    note = f"{several.seconds / ours.seconds:.1f} times one, {_passes(several)} passes"
    _print(case, f"ours, {TARGETS} targets at once", several, note)
    alone = measure(one_by_one, run, budget)
    note = f"{several.seconds / alone.seconds:.2f} times this at once; {alone.result} passes together"
    _print(case, f"ours, the {TARGETS} one after another", alone, note)
    if rows > PEER_ROWS:
        return
    centroids = _targets(run)[0]
    for peer in select_peers.PEERS.values():
        _print_peer(case, measure(select_peers.within_memory, peer, run, centroids, budget), peer.__name__, ours)
    if importlib.util.find_spec("duckdb"):
        found = measure(select_peers.duckdb_lists, run, centroids, budget)
        _print(case, f"DuckDB, read, and {select_peers.ASKED} of the centroids' lists", found, "")


def _print_peer(case: str, peer: Measured, name: str, ours: Measured) -> None:
    name = name.replace("_", " ")
    if peer.result is None:
        print(f"{case} {name} | | | needs more than {select_peers.MEMORY >> 30} GiB |", flush=True)
        return
    # Their float32 products differ in the last bits, and so does the order of rows that are nearly equal.
    ids = ours.result[0].ids
    shared = len(np.intersect1d(peer.result, ids)) / len(ids)
    ratio = f"{peer.seconds / ours.seconds:.1f} times the time, {peer.anonymous / ours.anonymous:.1f} times the MB"
    _print(case, name, peer, f"{ratio}; {shared:.4f} of the coreset shared")


def _passes(found: Measured) -> int:
    return max(selection.passes for selection in found.result)


def _print(case: str, what: str, cost: Measured, note: str) -> None:
    print(f"{case} {what} | {cost.seconds:.2f} | {cost.anonymous:,.0f} | {note} |", flush=True)


def exact(run: str, budget: int, targets: int) -> list[Selection]:
    """Our selections for so many targets, in one search."""
    return _search(run, budget, list(_targets(run)[:targets]))


def one_by_one(run: str, budget: int) -> int:
    """A search for each target; how often the pool was read."""
    return sum(_search(run, budget, [centroids])[0].passes for centroids in _targets(run))


def _search(run: str, budget: int, centroids: list[NDArray[np.float32]]) -> list[Selection]:
    # What an earlier search kept would be taken for the answer.
    Path(run, "kept_scan.npz").unlink(missing_ok=True)
    executor = InProcessExecutor(usable_cpus())
    search = exact_search(_pool(run), executor, lambda increments: None, lambda text: None)
    found: list[Selection] = search(centroids, [Rules(budget=budget)] * len(centroids))
    return found


def write_targets(run: str, rows: int, dim: int, clusters: int) -> None:
    """The centroids of several targets, and the rows of the first."""
    mixture = make_mixture(rows, dim, 0)
    targets = [draw_target(mixture, TARGET_ROWS, seed) for seed in range(TARGETS)]
    np.save(Path(run, "target.npy"), targets[0])
    np.save(Path(run, "targets.npy"), np.stack([find_centroids(target, clusters, 0) for target in targets]))


def read_and_multiply(run: str) -> float:
    """The floor."""
    centroids = _targets(run)[0]
    total = 0.0
    for _, rows in _pool(run).parts():
        for start in range(0, len(rows), BLOCK_ROWS):
            total += float((centroids @ widen(rows[start : start + BLOCK_ROWS]).T)[0, 0])
    return total


def _pool(run: str) -> PartStore:
    return PartStore(storage.join(run, "pool"))


def _targets(run: str) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.load(Path(run, "targets.npy"))
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
